import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  type Stats,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createZstdDecompress } from "node:zlib";

/** An entry of a manifest: the root (with an empty path) first, directories before contents. */
export type Entry =
  | { path: string; mode: number; size: number; sha256: string }
  | { path: string; mode: number }
  | { path: string; link: string };

/** `contents` has all files in the order of the manifest, compressed with zstd. */
export interface Archive {
  contents: string;
  manifest: string;
}

export const entriesOf = ({ manifest }: Archive): Entry[] =>
  JSON.parse(readFileSync(manifest, "utf8"));

const CHUNK_BYTES = 1 << 16;

/** Unpacks chunk by chunk. Sets the manifest's modes, whatever the umask is. */
export async function unpack(archive: Archive, into: string): Promise<void> {
  await pipeline(
    chunksOf(archive.contents),
    createZstdDecompress({ chunkSize: CHUNK_BYTES }),
    async (contents) => {
      const copy = copierOf(contents[Symbol.asyncIterator]());
      for (const entry of entriesOf(archive)) {
        const path = join(into, entry.path);
        if ("link" in entry) symlinkSync(entry.link, path);
        else if ("size" in entry) await writeNew(path, entry.mode, (fd) => copy(fd, entry.size));
        else makeDirectory(path, entry.mode);
      }
    },
  );
}

/** Reads with Bun, because node:fs cannot stream files inside the binary. */
async function* chunksOf(path: string) {
  const file = Bun.file(path);
  for (let at = 0; at < file.size; at += CHUNK_BYTES)
    yield await file.slice(at, at + CHUNK_BYTES).bytes();
}

function makeDirectory(path: string, mode: number) {
  mkdirSync(path, { mode: 0o700 });
  chmodSync(path, mode);
}

async function writeNew(path: string, mode: number, write: (fd: number) => Promise<void>) {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    await write(fd);
    fchmodSync(fd, mode);
  } finally {
    closeSync(fd);
  }
}

/** Copies the next `size` bytes of a stream into a file. */
function copierOf(chunks: AsyncIterator<Uint8Array>) {
  let rest: Uint8Array = new Uint8Array();
  return async (fd: number, size: number) => {
    for (let left = size; left > 0; ) {
      if (rest.length === 0) {
        const { value, done } = await chunks.next();
        if (done) throw new Error("the archive ends too early");
        rest = value;
      }
      const piece = rest.subarray(0, left);
      writeFileSync(fd, piece);
      left -= piece.length;
      rest = rest.subarray(piece.length);
    }
  };
}

/** The first path that is added, missing, or has another owner, mode or content. */
export function findAlteration(
  root: string,
  entries: Entry[],
  uid: number | undefined,
): string | undefined {
  const known = new Map(entries.map((entry) => [entry.path, entry]));
  const added = ["", ...walk(root)].find((path) => !known.delete(path));
  const [missing] = known.keys();
  return added ?? missing ?? entries.find((entry) => !isUnaltered(root, entry, uid))?.path;
}

/** Every path below `root`, each directory before its contents. Follows no symbolic link. */
export const walk = (root: string, below = ""): string[] =>
  readdirSync(join(root, below), { withFileTypes: true }).flatMap((found) => {
    const path = join(below, found.name);
    return found.isDirectory() ? [path, ...walk(root, path)] : [path];
  });

function isUnaltered(root: string, entry: Entry, uid: number | undefined): boolean {
  const path = join(root, entry.path);
  try {
    if ("link" in entry) return readlinkSync(path) === entry.link;
    if ("size" in entry) return isUnalteredFile(path, entry, uid);
    const stat = lstatSync(path);
    return stat.isDirectory() && hasOwnerAndMode(stat, entry, uid);
  } catch {
    // Another kind of file: not a symbolic link (EINVAL), or one instead of a file (ELOOP).
    return false;
  }
}

const hasOwnerAndMode = (stat: Stats, entry: { mode: number }, uid: number | undefined) =>
  stat.uid === uid && (stat.mode & 0o7777) === entry.mode;

const buffer = Buffer.allocUnsafe(1 << 18);

function isUnalteredFile(
  path: string,
  entry: { mode: number; size: number; sha256: string },
  uid: number | undefined,
): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size !== entry.size || !hasOwnerAndMode(stat, entry, uid))
      return false;
    const hash = createHash("sha256");
    for (let left = entry.size; left > 0; ) {
      const length = readSync(fd, buffer, 0, buffer.length, null);
      if (length === 0) return false;
      hash.update(buffer.subarray(0, length));
      left -= length;
    }
    return hash.digest("hex") === entry.sha256;
  } finally {
    closeSync(fd);
  }
}
