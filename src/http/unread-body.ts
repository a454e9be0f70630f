/** Far more than a body may have, so that an honest client can finish sending before it reads the refusal. */
const UNREAD_MAX_BYTES = 1 << 20;
const UNREAD_MAX_MS = 1_000;

/**
 * Reads and drops what no route has read of a body. Closing a connection while a body still arrives makes the client's next
 * write fail: the client may lose the answer, and a proxy may take the server for broken. Stops after 1 MiB or one second.
 */
export async function discardBody(request: Request): Promise<void> {
  if (request.bodyUsed || !request.body) return;
  await discardRest(request.body.getReader());
}

/** The same for a body that was read in part. */
export async function discardRest(
  reader: Pick<ReadableStreamDefaultReader<Uint8Array>, "read">,
): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, UNREAD_MAX_MS);
  try {
    for (let length = 0; length < UNREAD_MAX_BYTES; ) {
      const part = await Promise.race([reader.read(), late]);
      if (!part || part.done) return;
      length += part.value.length;
    }
  } catch {
    // The client has closed the connection: there is nothing left to read.
  } finally {
    clearTimeout(timer);
  }
}
