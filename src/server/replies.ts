import { within } from "../kit/within.ts";

/** Requests to another process. Each has an id and gets one reply, or none. */
export function openReplies<T>() {
  const pending = new Map<number, (reply: T) => void>();
  let lastId = 0;
  return {
    /** Sends a request. Returns undefined if no reply arrives within `timeoutMs`. */
    request: async (send: (id: number) => void, timeoutMs: number): Promise<T | undefined> => {
      lastId += 1;
      const id = lastId;
      const replied = new Promise<T>((settle) => {
        pending.set(id, settle);
        send(id);
      });
      const reply = await within(timeoutMs, replied);
      pending.delete(id);
      return reply;
    },
    receive: (id: number, reply: T) => pending.get(id)?.(reply),
  };
}
