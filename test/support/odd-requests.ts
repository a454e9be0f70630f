/** Generates requests that no honest client sends. The same seed makes the same requests. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** The random numbers of mulberry32. */
function openRandom(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number) => Math.floor(next() * bound);
  const pick = <T>(list: readonly [T, ...T[]]): T => list[below(list.length)] ?? list[0];
  return { below, pick, isOneIn: (bound: number) => below(bound) === 0 };
}
type Random = ReturnType<typeof openRandom>;

/** The first few are valid, and most requests have those. */
interface Choice<T> {
  sound: readonly [T, ...T[]];
  odd: readonly [T, ...T[]];
}
const choose = <T>(random: Random, { sound, odd }: Choice<T>): T =>
  random.pick(random.isOneIn(8) ? odd : sound);

const METHODS: Choice<string> = {
  sound: ["GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
  odd: [
    ...(["FOO", "FOO", "get", "TRACE", "CONNECT", "PROPFIND", "PURGE", "QUERY", "PRI"] as const),
    "M-SEARCH",
    "",
    "G\0T",
    "POST ",
    "A".repeat(300),
  ],
};
const TARGETS: Choice<string> = {
  sound: [
    ...(["/livez", "/nothing", "/api/v1/auth/register", "/api/v1/auth/login"] as const),
    "/api/v1/users/me",
    "/api/v1/users/me/sessions",
    "/oauth/token",
    "/oauth/revoke",
  ],
  odd: [
    ...(["*", "", "livez", "//livez", "/a/../livez", "/%00", "/%zz", "/a b", "/\xff"] as const),
    "/a#b",
    "http://localhost/livez",
    "https://evil.example:99999/",
    "/docs",
    "/sign-in",
    `/${"a".repeat(7_000)}`,
    `/${"a".repeat(20_000)}`,
    `/livez?${"a=1&".repeat(500)}`,
  ],
};
const VERSIONS: Choice<string> = {
  sound: ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
  odd: ["HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.", "RTSP/1.0", ""],
};
const HOSTS: Choice<string[]> = {
  sound: [["127.0.0.1"]],
  odd: [
    ...([[], [""], ["a", "b"], ["localhost", "localhost"], ["a b"], ["user@a"], ["a/b"]] as const),
    ...[["[::1"], ["\xe9"], ["a:b"], ["127.0.0.1:3000"], ["x".repeat(300)]],
  ].map((lines) => [...lines]) as [string[]],
};
const FIELDS = [
  "X-A: 1",
  "Connection: close",
  "Connection: keep-alive, X-A",
  "Connection: upgrade",
  "Upgrade: websocket",
  "Upgrade: h2c",
  "HTTP2-Settings: AAMAAABk",
  "Expect: 100-continue",
  "Expect: odd",
  "Trailer: X-T",
  "TE: trailers",
  "Max-Forwards: 0",
  "Keep-Alive: timeout=1",
  "X A: 1",
  "X-A : 1",
  ": 1",
  "X-A",
  "X-A: \x01",
  "X-A: a\0b",
  "X-A: \xff\xfe",
  " X-A: 1",
  "X-A: 1\r\n folded",
  "X-A: 1\n X-B: 2",
  `X-A: ${"a".repeat(9_000)}`,
  "X-A: 1\rX-B: 2",
  "Authorization: Bearer a",
  "Authorization: Basic YTpi",
  "Content-Encoding: gzip",
  "X-Forwarded-For: 127.0.0.1",
  "Cookie: a=1",
  "Range: bytes=0-1",
  "If-Match: *",
  Array(120).fill("X-A: 1").join("\r\n"),
] as [string, ...string[]];
const TYPES: Choice<string> = {
  sound: ["application/json", "application/x-www-form-urlencoded"],
  odd: ["text/plain", "multipart/form-data; boundary=a", "application/json, text/plain", "", ";"],
};
const SIZES: readonly [number, ...number[]] = [
  ...([0, 1, 2, 30, 30, 30, 1_000, 4_096, 65_535, 65_536, 65_537, 66_000] as const),
  100_000,
  125_000,
  131_072,
  131_073,
  300_000,
];

interface Framed {
  /** Headers that define, or seem to define, where the body ends. */
  lines: string[];
  body: string;
}

function bodyOf(random: Random): Framed {
  const size = random.isOneIn(300) ? 1_500_000 : random.pick(SIZES);
  const text = '{"username":"a","password":"b"}'.padEnd(size, "x").slice(0, size);
  const length = `Content-Length: ${size}`;
  const chunked = "Transfer-Encoding: chunked";
  const chunks = chunksOf(random, text);
  const cut = (whole: string) => whole.slice(0, random.below(whole.length + 1));
  return choose<Framed>(random, {
    sound: [
      { lines: [], body: "" },
      { lines: [length], body: text },
      { lines: [chunked], body: chunks },
    ],
    odd: [
      { lines: [length], body: cut(text) },
      { lines: [chunked], body: cut(chunks) },
      { lines: [length, length], body: text },
      { lines: [length, "Content-Length: 3"], body: text },
      { lines: [length, chunked], body: chunks },
      { lines: [chunked, "Content-Length: 3"], body: chunks },
      { lines: ["Transfer-Encoding: gzip, chunked"], body: chunks },
      { lines: ["Transfer-Encoding: xchunked"], body: chunks },
      { lines: ["Transfer-Encoding : chunked"], body: chunks },
      { lines: [chunked, "Transfer-Encoding: identity"], body: chunks },
      { lines: ["Content-Length: +3"], body: "abc" },
      { lines: ["Content-Length: -1"], body: text },
      { lines: ["Content-Length: 99999999999999999999"], body: text },
      { lines: [], body: text },
    ],
  });
}

function chunksOf(random: Random, text: string): string {
  const extension = choose(random, {
    sound: ["", "", ";a=b"],
    odd: [`;${"a".repeat(600)}`, " ", ';a="\n"'],
  });
  const trailer = choose(random, {
    sound: ["", "X-T: 1\r\n", "X-T: 1\r\nX-U: 2\r\n"],
    odd: ["Host: b\r\n", "odd\r\n", "Content-Length: 3\r\n"],
  });
  const end = choose(random, { sound: ["\r\n"], odd: ["\n", "", "x\r\n"] });
  const size = choose(random, { sound: ["", "0"], odd: ["0x", "-", "z", "fffffffffffffffff"] });
  const pieces = text.match(/[\s\S]{1,16384}/g) ?? [];
  const chunks = pieces.map(
    (piece) => `${size}${piece.length.toString(16)}${extension}\r\n${piece}${end}`,
  );
  return `${chunks.join("")}0\r\n${trailer}\r\n`;
}

function requestOf(random: Random): string {
  const { lines, body } = bodyOf(random);
  const method = body === "" || random.isOneIn(2) ? choose(random, METHODS) : "POST";
  const fields = random.isOneIn(4) ? [random.pick(FIELDS)] : [];
  const end = random.isOneIn(60) ? "\n" : "\r\n";
  return [
    `${method} ${choose(random, TARGETS)} ${choose(random, VERSIONS)}`,
    ...choose(random, HOSTS).map((host) => `Host: ${host}`),
    `Content-Type: ${choose(random, TYPES)}`,
    ...fields,
    ...lines,
    "",
    body,
  ].join(end);
}

const ANSWER_MAX_MS = 60;

interface Odd {
  pieces: string[];
  /** Closes its sending side after the last piece. */
  isHalfClosed: boolean;
}

function oddOf(random: Random): Odd {
  const several = random.isOneIn(8) ? 1 + random.below(3) : 1;
  const text = Array.from({ length: several }, () => requestOf(random)).join("");
  const at = random.isOneIn(3) ? random.below(text.length) : text.length;
  return { pieces: [text.slice(0, at), text.slice(at)], isHalfClosed: random.isOneIn(6) };
}

/** Resolves after a response, or after some time without one. */
function send({ pieces, isHalfClosed }: Odd, port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(port, "127.0.0.1", async () => {
    for (const piece of pieces) {
      if (piece !== "") socket.write(piece, "latin1");
      await sleep(1);
    }
    if (isHalfClosed) socket.end();
    setTimeout(() => end("none"), ANSWER_MAX_MS);
  });
  const end = (said: string) => {
    socket.destroy();
    resolve(said);
  };
  socket.on("data", (chunk) => end(chunk.toString("latin1").slice(9, 12)));
  socket.on("error", () => end("none")).on("close", () => end("none"));
  return promise;
}

const AT_ONCE = 24;

/** Sends `count` odd requests to `port`. Returns the number of responses of each status. */
export async function sendOddRequests(
  port: number,
  { count, seed }: { count: number; seed: number },
): Promise<Record<string, number>> {
  const random = openRandom(seed);
  const statuses: Record<string, number> = {};
  let sent = 0;
  const sender = async () => {
    while (sent < count) {
      sent += 1;
      const status = await send(oddOf(random), port);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, sender));
  return statuses;
}
