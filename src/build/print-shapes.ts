import type { Shape, ShapeMember } from "./route-types.ts";

/** The members of each named object: `{ Problem: ["type", …, "errors?"] }`. */
export type Names = Record<string, readonly string[]>;

const WIDTH = 80;
const INDENT = "  ";

/**
 * Prints types as declarations: each object of `names` once, all others inline. A problem becomes
 * `Problem<its codes>`. If two shapes have one name, the second is printed inline.
 */
export function openPrinter(names: Names) {
  const nameByMembers = new Map(
    Object.entries(names).map(([name, members]) => [membersKey(members), name]),
  );
  const declared = new Map<string, string>();

  const print = (shape: Shape, depth = 0): string => {
    if (shape.kind === "text") return shape.text;
    if (shape.kind === "array") return arrayOf(print(shape.of, depth));
    if (shape.kind === "generator")
      return `AsyncGenerator<${print(shape.of, depth)}, void, unknown>`;
    if (shape.kind === "union") {
      const parts = unionOf(shape.of.map((one) => print(one, depth)));
      const line = parts.join(" | ");
      if (line.length <= WIDTH || line.includes("\n")) return line;
      return parts.map((part) => `\n${INDENT.repeat(depth + 1)}| ${part}`).join("");
    }
    const { members } = shape;
    const name = nameByMembers.get(membersKey(members.map(nameOf)));
    if (name === undefined) return printObject(members, depth);
    return refer(name, members, depth) ?? printObject(members, depth);
  };

  function refer(name: string, members: ShapeMember[], depth: number): string | undefined {
    const codes = name === PROBLEM ? members.find((member) => member.name === "code") : undefined;
    const own = codes ? members.map((member) => (member === codes ? ANY_CODE : member)) : members;
    const text = printObject(own, 0);
    const known = declared.get(name) ?? text;
    declared.set(name, known);
    if (known !== text) return undefined;
    return codes ? `${name}<${print(codes.shape, depth)}>` : name;
  }

  function printObject(members: ShapeMember[], depth: number): string {
    if (members.length === 0) return "{}";
    const short = `{ ${members.map((member) => printMember(member, depth)).join("; ")} }`;
    if (!short.includes("\n") && short.length + depth * INDENT.length <= WIDTH) return short;
    const inner = INDENT.repeat(depth + 1);
    const lines = members.map((member) => `${inner}${printMember(member, depth + 1)};\n`);
    return `{\n${lines.join("")}${INDENT.repeat(depth)}}`;
  }

  function printMember({ name, isOptional, shape }: ShapeMember, depth: number): string {
    const type = print(isOptional ? present(shape) : shape, depth);
    return `${keyOf(name)}${isOptional ? "?" : ""}:${type.startsWith("\n") ? "" : " "}${type}`;
  }

  const declarations = (): string =>
    [...declared]
      .map(([name, text]) =>
        name === PROBLEM
          ? `export type ${name}<Code extends string = string> = ${text};\n`
          : `export type ${name} = ${text};\n`,
      )
      .join("\n");

  return { print, declarations };
}

const PROBLEM = "Problem";
const ANY_CODE: ShapeMember = {
  name: "code",
  isOptional: false,
  shape: { kind: "text", text: "Code" },
};

const membersKey = (members: readonly string[]): string => members.toSorted().join();

const nameOf = ({ name, isOptional }: ShapeMember) => `${name}${isOptional ? "?" : ""}`;

const keyOf = (name: string): string =>
  /^([A-Za-z_$][\w$]*|\d+|\[key: \w+\])$/.test(name) ? name : JSON.stringify(name);

/** The type of an optional member, without undefined. */
const present = (shape: Shape): Shape =>
  shape.kind === "union"
    ? { kind: "union", of: shape.of.filter((one) => !isUndefined(one)) }
    : shape;
const isUndefined = (shape: Shape) => shape.kind === "text" && shape.text === "undefined";

const arrayOf = (item: string): string => (item.includes(" | ") ? `(${item})[]` : `${item}[]`);

/** Sorts the members of a union, because the compiler's order may differ between builds. */
function unionOf(parts: string[]): string[] {
  const texts = new Set(parts);
  if (texts.has("true") && texts.has("false")) {
    texts.delete("true");
    texts.delete("false");
    texts.add("boolean");
  }
  const last = ["null", "undefined"].filter((word) => texts.delete(word));
  return [...[...texts].toSorted(), ...last];
}
