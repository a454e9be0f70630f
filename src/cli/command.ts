import {
  type BaseFlags,
  buildCommand,
  buildRouteMap,
  type Command,
  type CommandContext,
  type RouteMap,
  type TypedCommandParameters,
} from "@stricli/core";
import { integer as wholeNumber } from "../config/setting.ts";

/** Parsing only records what to run: the parser must not handle a failure of the command. */
export interface Parsing extends CommandContext {
  work?: () => Promise<void>;
}

type Run<F extends BaseFlags, A extends readonly (string | undefined)[]> = (
  flags: F,
  ...args: A
) => Promise<void>;

/** A command. Its file is loaded only when it runs. */
export function command<
  F extends BaseFlags = Record<never, never>,
  A extends readonly (string | undefined)[] = [],
>(
  brief: string,
  parameters: NoInfer<TypedCommandParameters<F, A, Parsing>> & { details?: string },
  load: () => Promise<Run<F, A>>,
): Command<Parsing> {
  const { details } = parameters;
  return buildCommand<F, A, Parsing>({
    docs: { brief, ...(details ? { fullDescription: `${brief} ${details}` } : {}) },
    parameters: { ...parameters, flags: ownOnly(parameters.flags ?? {}) } as typeof parameters,
    func(flags, ...args) {
      this.work = async () => (await load())(flags, ...args);
    },
  });
}

type Routes = Record<string, Command<Parsing> | RouteMap<Parsing>>;

export const group = (brief: string, routes: Routes): RouteMap<Parsing> =>
  buildRouteMap<string, Parsing>({ ...routesOf(routes), docs: { brief } });

/** Without a prototype: otherwise the parser would find "constructor" among the names. */
const ownOnly = <T extends object>(names: T): T => Object.assign(Object.create(null), names);

export const routesOf = (routes: Routes) => ({
  routes: ownOnly(routes),
  aliases: ownOnly<Record<string, never>>({}),
});

const DASH = "\0";

/**
 * The only one-letter flag is -h, so any other "-x" is an argument: one key id in 64 begins with a
 * dash. The parser would take it for a flag. So a character that no argument can contain marks it.
 */
export const markDash = (word: string): string =>
  /^-[^-]/.test(word) && word !== "-h" ? `${DASH}${word}` : word;
export const unmarkDash = (text: string): string => text.replaceAll(DASH, "");

const text = (placeholder: string, brief: string) => ({ placeholder, brief, parse: unmarkDash });

export const argument = (placeholder: string, brief: string) => ({
  positional: { kind: "tuple" as const, parameters: [text(placeholder, brief)] as const },
});

export const optionalArgument = (placeholder: string, brief: string) => ({
  positional: {
    kind: "tuple" as const,
    parameters: [{ ...text(placeholder, brief), optional: true as const }] as const,
  },
});

export const flag = (brief: string) => ({
  kind: "boolean" as const,
  brief,
  optional: true as const,
  withNegated: false as const,
});

export const json = flag("Print one JSON document");

export const value = (placeholder: string, brief: string) => ({
  ...text(placeholder, brief),
  kind: "parsed" as const,
  optional: true as const,
});

export const integer = (
  placeholder: string,
  { brief, min, max }: { brief: string; min: number; max: number },
) => ({ ...value(placeholder, brief), parse: wholeNumber(min, max) });
