import type { Config, readConfig } from "../config.ts";
import { settings } from "../settings.ts";
import { print, type Typed } from "./terminal.ts";

/** Shows what every setting is and where it came from. Secrets show only that they are there. */
export async function showConfig(
  found: ReturnType<typeof readConfig>,
  { flags }: Typed,
): Promise<void> {
  const rows = (Object.keys(settings) as (keyof Config)[]).map((key) => {
    const { name, shown, isSecret } = settings[key];
    const value = found.config[key];
    const isShown = found.origins[key] !== "default" || shown === undefined;
    const words = value !== undefined && isShown ? textOf(value) : `(${shown ?? "none"})`;
    return {
      name,
      value: isSecret && found.origins[key] !== "default" ? "********" : words,
      origin: found.origins[key],
    };
  });
  if (flags["json"]) return print(JSON.stringify(rows));
  for (const { name, value, origin } of rows) print(`${name.padEnd(36)}${value}  [${origin}]`);
  for (const warning of found.warnings) print(`Warning: ${warning}`);
}

const textOf = (value: NonNullable<Config[keyof Config]>) =>
  typeof value === "object" ? JSON.stringify(value) : String(value);
