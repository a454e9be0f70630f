/** The tables of commands.md, errors.md and events.md. */
import { commands } from "../src/cli/commands.ts";
import { eventDefinitions } from "../src/kit/event-types.ts";
import { fieldProblems, problems } from "../src/kit/problem-codes.ts";
import { productEvents } from "../src/product/event-types.ts";
import { productProblems } from "../src/product/problem-codes.ts";

const bunkerEvents = Object.entries(eventDefinitions).filter(([type]) => !(type in productEvents));

export const eventsTable = () => [
  "| type | version | subject | recorded when | `data` |",
  "|---|---|---|---|---|",
  ...bunkerEvents.map(([type, { version, about, when, data }]) => {
    const fields = Object.entries(data.properties).map(
      ([name, { description }]) => `\`${name}\`: ${description}`,
    );
    return `| \`${type}\` | ${version} | ${about} | ${when} | ${fields.join(" ")} |`;
  }),
];

export const errorsTable = () => [
  "| status | code | title | what to do |",
  "|---|---|---|---|",
  ...Object.entries(problems)
    .filter(([code]) => !(code in productProblems))
    .sort(([, a], [, b]) => a.status - b.status)
    .map(
      ([code, { status, title, remedy }]) =>
        `| ${status} | \`${code}\` | ${title} | ${remedy.replaceAll("<", "\\<")} |`,
    ),
];

export const fieldsTable = () => [
  "| code | the part of the request |",
  "|---|---|",
  ...Object.entries(fieldProblems).map(([code, detail]) => `| \`${code}\` | ${detail} |`),
];

export const commandsTable = () => [
  "| command | what it does |",
  "|---|---|",
  ...rowsOf(commands, "bunker"),
];

/** Of a command or a group of commands, as the parser has them. */
type Route = ReturnType<typeof commands.getAllEntries>[number]["target"];
function rowsOf(route: Route, name: string): string[] {
  if ("getAllEntries" in route)
    return route
      .getAllEntries()
      .flatMap((entry) => rowsOf(entry.target, `${name} ${entry.name.original}`));
  const flags = Object.entries(route.parameters.flags ?? {}).map(([flag, { kind, placeholder }]) =>
    kind === "parsed" ? `[--${flag} ${placeholder ?? "VALUE"}]` : `[--${flag}]`,
  );
  const { positional } = route.parameters;
  const words = positional?.kind === "tuple" ? positional.parameters : [];
  const args = words.map(({ placeholder, optional }) =>
    optional ? `[${placeholder}]` : `${placeholder}`,
  );
  return [`| \`${[name, ...args, ...flags].join(" ")}\` | ${route.brief} |`];
}
