import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import lock from "../../bun.lock";
import manifest from "../../package.json" with { type: "json" };
import { sha256 } from "../kit/digest.ts";

const root = join(import.meta.dir, "../..");
/** Development dependencies whose files are in the binary. */
const BUNDLED = ["swagger-ui-dist"];

interface Component {
  type: "library" | "application" | "framework" | "file";
  "bom-ref": string;
  name: string;
  version: string;
  purl?: string;
  cpe?: string;
  licenses?: { license: { name: string } | { id: string } }[] | { expression: string }[];
  hashes?: { alg: "SHA-256" | "SHA-512"; content: string }[];
  pedigree?: { notes: string };
}

type Entry = [pinned: string, registry: string, info: { dependencies?: object }, integrity: string];
const entryOf = (key: string) => lock.packages[key] as Entry;

/** As keys of the lockfile: `a`, or `a/b` for a version of `b` that only `a` uses. */
function keysOf(sources: string[]): string[] {
  const keys = sources.flatMap((source) => {
    const names = [...source.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)/g)].map(
      ([, name]) => name,
    );
    return names.length > 0 ? [names.join("/")] : [];
  });
  return [...new Set(keys)];
}

function componentOf(key: string): Component {
  const [pinned, , , integrity] = entryOf(key);
  const at = pinned.lastIndexOf("@");
  const [name, version] = [pinned.slice(0, at), pinned.slice(at + 1)];
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const patch = (manifest.patchedDependencies as Record<string, string>)[pinned];
  return {
    type: "library",
    "bom-ref": purl,
    name,
    version,
    purl,
    licenses: licensesOf(key),
    hashes: [
      { alg: "SHA-512", content: Buffer.from(integrity.slice(7), "base64").toString("hex") },
    ],
    ...(patch ? { pedigree: { notes: `patched by ${patch}` } } : {}),
  };
}

function licensesOf(key: string): NonNullable<Component["licenses"]> {
  const folder = key.replaceAll(/(?<=^|\/)((?:@[^/]+\/)?[^/]+)/g, "node_modules/$1");
  const file = join(root, folder, "package.json");
  const { license = "unknown" } = JSON.parse(readFileSync(file, "utf8")) as { license?: string };
  if (/ (OR|AND|WITH) /.test(license)) return [{ expression: license }];
  return [{ license: license === "unknown" ? { name: license } : { id: license } }];
}

const bun: Component = {
  type: "framework",
  "bom-ref": "bun",
  name: "bun",
  version: Bun.version,
  purl: `pkg:github/oven-sh/bun@bun-v${Bun.version}`,
  licenses: [{ license: { id: "MIT" } }],
};

const commonPasswords: Component = {
  type: "library",
  "bom-ref": "common-passwords",
  name: "@zxcvbn-ts/language-common",
  version: "4.1.3",
  purl: "pkg:npm/%40zxcvbn-ts/language-common@4.1.3",
  licenses: [{ license: { id: "MIT" } }],
};

const postgresql = (version: string): Component => ({
  type: "application",
  "bom-ref": "postgresql",
  name: "postgresql",
  version,
  cpe: `cpe:2.3:a:postgresql:postgresql:${version}:*:*:*:*:*:*:*`,
  licenses: [{ license: { id: "PostgreSQL" } }],
});

/** Libraries in the package of PostgreSQL, such as OpenSSL, with the version in their names. */
function librariesIn(database: string): Component[] {
  const folder = join(root, "node_modules", database, "native/lib");
  return readdirSync(folder)
    .filter((name) => /\.so\.\d/.test(name) && !/^lib(pq|ecpg|pgtypes)/.test(name))
    .toSorted()
    .map((name) => {
      const content = sha256(readFileSync(join(folder, name))).toString("hex");
      const version = name.replace(/^.*?\.so\./, "");
      const hashes: Component["hashes"] = [{ alg: "SHA-256", content }];
      return { type: "file", "bom-ref": name, name, version, hashes };
    });
}

/**
 * The bill of materials of a binary, as CycloneDX 1.6: the packages of its `sources`, the bundled
 * files, Bun, and PostgreSQL of the package `database`, if any. The same sources give the same
 * document. (@cyclonedx/cyclonedx-npm lists what is installed, not what is in the binary.)
 */
export function billOfMaterials(sources: string[], database: string | undefined) {
  const keys = [...keysOf(sources), ...BUNDLED, ...(database === undefined ? [] : [database])];
  const packages = keys.map(componentOf).toSorted((a, b) => (a["bom-ref"] < b["bom-ref"] ? -1 : 1));
  const postgres = packages.find(({ name }) => name === database)?.version.replace(/\.0-.*$/, "");
  const { name, version, license } = manifest;
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": name,
        name,
        version,
        licenses: [{ license: { id: license } }],
      },
    },
    components: [
      bun,
      commonPasswords,
      ...(postgres ? [postgresql(postgres)] : []),
      ...packages,
      ...(database ? librariesIn(database) : []),
    ],
  };
}
