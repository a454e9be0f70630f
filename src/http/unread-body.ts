/** An honest client can finish sending this much before it reads the refusal. */
const UNREAD_MAX_BYTES = 1 << 20;
const UNREAD_MAX_MS = 1_000;

/**
 * If the connection were closed while a body still arrives, the client's next write would fail: it
 * could lose the response, and a proxy could consider the server broken. Reads 1 MiB or one second.
 */
export async function discardBody(request: Request): Promise<void> {
  if (request.bodyUsed || !request.body) return;
  await discardRest(request.body.getReader());
}

export async function discardRest(
  reader: Pick<ReadableStreamDefaultReader<Uint8Array>, "read">,
): Promise<void> {
  const { promise: timeout, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, UNREAD_MAX_MS);
  try {
    for (let length = 0; length < UNREAD_MAX_BYTES; ) {
      const part = await Promise.race([reader.read(), timeout]);
      if (!part || part.done) return;
      length += part.value.length;
    }
  } catch {
    // The client closed the connection: nothing is left to read.
  } finally {
    clearTimeout(timer);
  }
}
