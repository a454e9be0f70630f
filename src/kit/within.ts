import { setTimeout as sleep } from "node:timers/promises";

/** The result of `work`, or undefined if it takes longer than `ms`. The work goes on then. */
export const within = <T>(ms: number, work: Promise<T>): Promise<T | undefined> =>
  Promise.race([work, sleep(ms, undefined, { ref: false })]);
