import {
  type BaseFlags,
  buildCommand,
  buildRouteMap,
  type Command,
  type CommandContext,
  type RouteMap,
  type TypedCommandParameters,
} from "@stricli/core";

/** Parsing only notes what to run, so that what fails later is no matter of the parser. */
export interface Parsing extends CommandContext {
  work?: () => Promise<void>;
}

/** A command's function: what was typed as flags, then what was typed as words. */
type Run<F extends BaseFlags, W extends readonly (string | undefined)[]> = (
  flags: F,
  ...words: W
) => Promise<void>;

/** A command. Its file is loaded only where it runs. */
export function command<
  F extends BaseFlags = Record<never, never>,
  W extends readonly (string | undefined)[] = [],
>(
  docs: { brief: string; details?: string },
  parameters: NoInfer<TypedCommandParameters<F, W, Parsing>>,
  load: () => Promise<Run<F, W>>,
): Command<Parsing> {
  const { brief, details } = docs;
  return buildCommand<F, W, Parsing>({
    docs: { brief, ...(details ? { fullDescription: `${brief} ${details}` } : {}) },
    parameters: { ...parameters, flags: ownOnly(parameters.flags ?? {}) } as typeof parameters,
    func(flags, ...words) {
      this.work = async () => (await load())(flags, ...words);
    },
  });
}

type Routes = Record<string, Command<Parsing> | RouteMap<Parsing>>;

export const group = (brief: string, routes: Routes): RouteMap<Parsing> =>
  buildRouteMap<string, Parsing>({ ...routesOf(routes), docs: { brief } });

/** The parser looks names up in plain objects, which know "constructor" as well. */
const ownOnly = <T extends object>(names: T): T => Object.assign(Object.create(null), names);

export const routesOf = (routes: Routes) => ({
  routes: ownOnly(routes),
  aliases: ownOnly<Record<string, never>>({}),
});

const DASH = "\0";

/**
 * There is no flag of one letter but -h, so any other "-x" is a word: one key id in 64 begins with a dash. It is marked for the
 * parser, which would take it for a flag, with a character that no argument can contain.
 */
export const markDash = (word: string): string =>
  /^-[^-]/.test(word) && word !== "-h" ? `${DASH}${word}` : word;
export const unmarkDash = (text: string): string => text.replaceAll(DASH, "");

const word = (placeholder: string, brief: string) => ({ placeholder, brief, parse: unmarkDash });

/** One word behind the command. */
export const one = (placeholder: string, brief: string) => ({
  positional: { kind: "tuple" as const, parameters: [word(placeholder, brief)] as const },
});

export const optional = (placeholder: string, brief: string) => ({
  positional: {
    kind: "tuple" as const,
    parameters: [{ ...word(placeholder, brief), optional: true as const }] as const,
  },
});

/** A flag that is there or not. */
export const flag = (brief: string) => ({
  kind: "boolean" as const,
  brief,
  optional: true as const,
  withNegated: false as const,
});

/** A flag with a value. */
export const value = (placeholder: string, brief: string) => ({
  ...word(placeholder, brief),
  kind: "parsed" as const,
  optional: true as const,
});

/** A whole number in bounds. */
export const integer = (
  placeholder: string,
  { brief, min, max }: { brief: string; min: number; max: number },
) => ({
  kind: "parsed" as const,
  ...{ placeholder, brief, optional: true as const },
  parse: (text: string): number => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= min && number <= max) return number;
    throw new Error(`must be a whole number from ${min} to ${max}`);
  },
});
