import { treaty } from "@elysiajs/eden";

/**
 * A client of the Bunker at `url`. By default, Eden turns each string that looks like a date
 * into a Date, also a user's name. Here strings stay strings, as the types say.
 */
export const createClient = (url, options) => treaty(url, { ...options, parseDate: false });

const DELAY_MIN_MS = 500;
const DELAY_MAX_MS = 30_000;
const RETRY_AFTER_MAX_MS = 3_600_000;
/** The server sends a comment every 15 seconds. */
const SILENCE_MAX_MS = 45_000;

/**
 * Yields each event once and in order: those after the cursor `after`, or from now on. Connects
 * again after every failure, not before the time in Retry-After, and asks the `headers` of the
 * client for a token each time. Ends when `signal` is aborted. Throws Eden's error when retrying cannot help: the token is refused (401,
 * 403), events after the cursor were deleted (410), or the request is not valid.
 */
export async function* eventsOf(client, { after, types, own = false, signal } = {}) {
  const { stream } = own ? client.api.v1.users.me.events : client.api.v1.events;
  let cursor = after;
  let delayMs = DELAY_MIN_MS;
  while (!signal?.aborted) {
    const connection = openConnection(signal);
    let response;
    try {
      response = await request(stream, { cursor, types, signal: connection.signal });
      for await (const { id, data } of messagesOf(response, connection)) {
        cursor = id ?? cursor;
        delayMs = DELAY_MIN_MS;
        if (data) yield JSON.parse(data);
      }
    } finally {
      connection.close();
    }
    await pause(Math.max(delayMs * (0.5 + Math.random() / 2), retryAfterMsOf(response)), signal);
    delayMs = Math.min(2 * delayMs, DELAY_MAX_MS);
  }
}

/**
 * Throws if trying again cannot help. An error of Eden that `headers` throws counts as one of the
 * stream: a refresh of the token fails while the server restarts.
 */
async function request(stream, { cursor, types, signal }) {
  const query = { ...(cursor && { after: cursor }), ...(types && { type: types.join() }) };
  const connecting = stream.get({ query, fetch: { signal } });
  const { error, response } = await connecting.catch((error) => ({ error }));
  if (error && isFinal(error.status)) throw error;
  return response;
}

const retryAfterMsOf = (response) =>
  Math.min(1_000 * (Number(response?.headers.get("retry-after")) || 0), RETRY_AFTER_MAX_MS);

/** Eden reports a failed connection as 503. */
const isFinal = (status) => !(status >= 500 || status === 408 || status === 429);

/** Aborts a request when `signal` is aborted, and when nothing has arrived for too long. */
function openConnection(signal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  let timer;
  const restartTimer = () => {
    clearTimeout(timer);
    timer = setTimeout(abort, SILENCE_MAX_MS);
  };
  signal?.addEventListener("abort", abort);
  restartTimer();
  return {
    signal: controller.signal,
    restartTimer,
    close: () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      abort();
    },
  };
}

/**
 * The messages of a response until it ends or breaks (HTML standard, section 9.2). A failure has
 * none, nor has a page of a proxy, which may come with status 200.
 */
async function* messagesOf(response, { restartTimer }) {
  const isStream = response?.headers.get("content-type")?.startsWith("text/event-stream");
  const reader = isStream ? response.body.getReader() : undefined;
  const decoder = new TextDecoder();
  let text = "";
  while (reader) {
    const { value, done } = await reader.read().catch(() => ({ done: true }));
    if (done) return;
    restartTimer();
    text += decoder.decode(value, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) yield messageOf(block);
  }
}

const messageOf = (block) =>
  Object.fromEntries(
    block.split("\n").map((line) => {
      const at = line.indexOf(":");
      return [line.slice(0, at), line.slice(at + 1).trimStart()];
    }),
  );

const pause = (ms, signal) =>
  new Promise((resolve) => {
    if (signal?.aborted) resolve();
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
