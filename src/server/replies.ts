import { setTimeout as sleep } from "node:timers/promises";

/** Questions to another process, each of which is answered once, under its number, or not at all. */
export interface Replies<T> {
  /** Asks by `send`; undefined where no answer came within `patienceMs`. */
  ask: (send: (id: number) => void, patienceMs: number) => Promise<T | undefined>;
  heard: (id: number, answer: T) => void;
}

export function openReplies<T>(): Replies<T> {
  const waiting = new Map<number, (answer: T) => void>();
  let last = 0;
  return {
    ask: async (send, patienceMs) => {
      last += 1;
      const id = last;
      const answered = new Promise<T>((resolve) => {
        waiting.set(id, resolve);
        send(id);
      });
      const late = sleep(patienceMs, undefined, { ref: false });
      const answer = await Promise.race([answered, late]);
      waiting.delete(id);
      return answer;
    },
    heard: (id, answer) => waiting.get(id)?.(answer),
  };
}
