import { existsSync, lchownSync, lstatSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { Exit, misconfigured } from "../../kit/exit.ts";

/** `nonroot` of distroless images, so that a data directory can move into a container and back. */
const NONROOT = 65532;

/** PostgreSQL refuses to run as root: then it runs as `uid`, or in a user namespace. */
export type Account = { kind: "own" } | { kind: "other"; uid: number } | { kind: "namespace" };

const others = { enter: 0o001 };
const isReachable = (path: string): boolean =>
  (statSync(path).mode & others.enter) !== 0 && (path === "/" || isReachable(dirname(path)));

/** The owner of an existing cluster runs it. Throws an Exit (78 or 69) if no OS user can. */
export function chooseAccount(dataDir: string): Account {
  if (process.getuid?.() !== 0) return { kind: "own" };
  const cluster = join(dataDir, "cluster");
  const owner = existsSync(cluster) ? statSync(cluster).uid : undefined;
  if (owner !== 0 && isReachable(dataDir)) return { kind: "other", uid: owner ?? NONROOT };
  if (owner !== undefined && owner !== 0) throw misconfigured(refusalOf(cluster, owner));
  if (Bun.which("unshare")) return { kind: "namespace" };
  throw new Exit(
    "unavailable",
    `PostgreSQL does not run as root, and no other OS user can reach ${dataDir}. Start bunker as another OS user, ` +
      `put DATA_DIR where other OS users can reach it (chmod o+x on each folder above it), or install util-linux (unshare).`,
  );
}

/** In a namespace, PostgreSQL has root's rights: the owner of the cluster could become root. */
const refusalOf = (cluster: string, owner: number) =>
  `DATA_DIR: ${cluster} belongs to uid ${owner}, which cannot reach it. Let other OS users enter each folder above it ` +
  `(chmod o+x), or, if you trust its contents, run: chown -R root:root ${cluster}`;

/** The command before a program that makes it run as an ordinary user in a namespace. */
export const prefixOf = (account: Account): string[] =>
  account.kind === "namespace" ? ["unshare", "-U", "--map-user=1000", "--map-group=1000"] : [];

/** Changes the directory itself last, so that its owner shows whether everything was changed. */
export function giveTo(uid: number, path: string): void {
  if (lstatSync(path).isDirectory())
    for (const name of readdirSync(path)) giveTo(uid, join(path, name));
  lchownSync(path, uid, uid);
}
