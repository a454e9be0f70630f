import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeText } from "../../config/text-file.ts";
import { textColorOn } from "../../kit/color.ts";
import { escaped } from "../../kit/html.ts";
import type { Mailer, RenderedMail } from "../../kit/mail.ts";
import { defaultTemplate } from "./template.ts";
import german from "./texts/de.json" with { type: "json" };
import english from "./texts/en.json" with { type: "json" };

export type MailKind = keyof typeof english;
export const mailKinds = Object.keys(english) as MailKind[];

/** `{brand}` is the name of the service. Some kinds have more placeholders, such as `{device}`. */
interface Texts {
  subject: string;
  lines: string[];
  /** The label of the link, for kinds that have one. */
  button?: string;
  after: string[];
}
type Language = Record<MailKind, Texts>;

type Renderer = (...mail: Parameters<Mailer["render"]>) => RenderedMail;

export interface Brand {
  name: string;
  color: string;
  logo: string | undefined;
}

/** In the recipient's language or English. `folder` overrides texts (docs/guides/brand.md). */
export function openRenderer(brand: Brand, folder: string | undefined): Renderer {
  const languages = new Map<string, Language>();
  const languageOf = (locale: string | null): [string, Language] => {
    const name = /^[a-z]{2,3}/.exec(locale?.toLowerCase() ?? "")?.[0] ?? "en";
    const known = languages.get(name) ?? readLanguage(name, folder);
    if (!known) return languageOf("en");
    languages.set(name, known);
    return [name, known];
  };
  const template = fileIn(folder, "frame.html") ?? defaultTemplate;

  return (kind, locale, { link, code, details = {} }) => {
    const [lang, language] = languageOf(locale);
    const values: Record<string, string> = { ...details, brand: brand.name };
    const fill = (text: string) =>
      text.replaceAll(/\{([a-z]+)\}/g, (_, name) => values[name] ?? "");
    const { subject, lines, button, after } = language[kind as MailKind];
    const above = lines.map(fill);
    const below = after.map(fill);
    const label = link && button ? fill(button) : undefined;
    const body = [
      ...above.map(paragraph),
      ...(code ? [digitsOf(code)] : []),
      ...(link && label ? [buttonOf(link, label, brand.color)] : []),
      ...below.map(note),
    ].join("\n");
    const parts = { lang, subject: escaped(fill(subject)), head: headOf(brand), content: body };
    const action = link ? [label ? `${label}:\n${link}` : link] : [];
    return {
      subject: fill(subject),
      text: `${[...above, ...(code ? [code] : []), ...action, ...below].join("\n\n")}\n`,
      html: template.replaceAll(
        /\{(lang|subject|head|content)\}/g,
        (_, name: keyof typeof parts) => parts[name],
      ),
    };
  };
}

/** The faults in a folder of custom texts, as sentences that name the file. Checked at startup. */
export function faultsIn(folder: string): string[] {
  const names = readdirSync(folder);
  const faults = names
    .filter((name) => name.endsWith(".json"))
    .flatMap((name) => textFaults(folder, name));
  const customFrame = fileIn(folder, "frame.html");
  if (customFrame !== undefined && !customFrame.includes("{content}"))
    faults.push("frame.html has no {content}");
  return faults;
}

function textFaults(folder: string, name: string): string[] {
  let texts: unknown;
  try {
    texts = JSON.parse(fileIn(folder, name) ?? "");
  } catch {
    return [`${name} is not JSON`];
  }
  if (!isObject(texts)) return [`${name} is not an object`];
  return Object.entries(texts).flatMap(([kind, parts]) => {
    if (!Object.hasOwn(english, kind) || !isObject(parts))
      return [`${name} has "${kind}", which is not a kind of mail`];
    return Object.entries(parts).flatMap(([part, value]) =>
      isPart(part, value)
        ? []
        : [`${name}: "${kind}.${part}" does not exist in en.json, or has another type there`],
    );
  });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown) => typeof value === "string";
const isPart = (part: string, value: unknown): boolean =>
  ["subject", "button"].includes(part)
    ? isText(value)
    : ["lines", "after"].includes(part) && Array.isArray(value) && value.every(isText);

const builtIn: Record<string, Language> = { en: english, de: german };

/** Texts that another language leaves out are in English. */
function readLanguage(name: string, folder: string | undefined): Language | undefined {
  const text = fileIn(folder, `${name}.json`);
  if (text === undefined) return builtIn[name];
  const overrides: Partial<Record<MailKind, Partial<Texts>>> = JSON.parse(text);
  const base = builtIn[name] ?? english;
  const merged = mailKinds.map((kind) => [kind, { ...base[kind], ...overrides[kind] }]);
  return Object.fromEntries(merged);
}

function fileIn(folder: string | undefined, name: string): string | undefined {
  if (folder === undefined) return undefined;
  try {
    return decodeText(readFileSync(join(folder, name)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const paragraph = (text: string) => `<p style="margin:0 0 16px">${escaped(text)}</p>`;
const note = (text: string) =>
  `<p style="margin:0 0 8px;font-size:14px;opacity:.75">${escaped(text)}</p>`;
const digitsOf = (code: string) =>
  `<p style="margin:24px 0;font:600 32px/1 ui-monospace,SFMono-Regular,Menlo,monospace;letter-spacing:6px">${escaped(code)}</p>`;
const headOf = ({ name, logo }: Brand) =>
  logo
    ? `<img src="${escaped(logo)}" alt="${escaped(name)}" height="36" style="border:0">`
    : escaped(name);
const buttonOf = (link: string, label: string, color: string) =>
  `<p style="margin:24px 0"><a href="${escaped(link)}" style="display:inline-block;padding:12px 20px;border-radius:8px;background:${color};color:${textColorOn(color)};text-decoration:none;font-weight:600">${escaped(label)}</a></p>
<p style="margin:0 0 24px;font-size:13px;opacity:.75;word-break:break-all">${escaped(link)}</p>`;
