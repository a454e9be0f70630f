import { version } from "../kit/build.ts";
import { type JsonFlag, printAnswer } from "../terminal.ts";

export const printVersion = async ({ json: isJson }: JsonFlag): Promise<void> =>
  printAnswer({ json: { version }, text: `bunker ${version}` }, isJson);
