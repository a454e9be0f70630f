import { type Config, readConfig } from "../config/config.ts";
import type { Setting } from "../config/setting.ts";
import { settings } from "../config/settings.ts";
import { loadConfig } from "../environment.ts";
import { type JsonFlag, printList } from "../terminal.ts";

type Row = { name: string; value: unknown; origin: string };

/** Prints the effective value of each setting and where it came from. Secrets are masked. */
export async function showConfig({ json: isJson }: JsonFlag): Promise<void> {
  const config = await loadConfig();
  const { origins } = readConfig(process.env);
  const rows = (Object.keys(settings) as (keyof Config)[]).map((key): Row => {
    const setting = settings[key] as Setting<unknown>;
    const origin = origins[key];
    const isMasked = setting.isSecret && origin !== "default";
    return { name: setting.name, value: isMasked ? MASK : effective(setting, config[key]), origin };
  });
  await printList(rows, isJson, {
    json: (row) => row,
    text: ({ name, value, origin }) => `${name.padEnd(36)}${textOf(value)}  [${origin}]`,
    empty: "",
  });
}

const MASK = "********";

const effective = ({ format }: Setting<unknown>, value: unknown): unknown =>
  value !== undefined && format ? format(value) : (value ?? null);

/** A value as the variable would spell it. */
function textOf(value: unknown): string {
  if (value === null) return "(unset)";
  if (typeof value !== "object") return String(value);
  const parts = Object.values(value);
  return parts.length === 0 ? "(none)" : parts.join(", ");
}
