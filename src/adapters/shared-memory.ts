import { byScheme } from "../kit/by-scheme.ts";
import type { Log } from "../kit/log.ts";
import type { SharedMemory } from "../limits/shared-memory.ts";

export interface SharedMemoryOptions {
  /** Before all names: several installations may use one server. */
  prefix: string;
  /** Another instance says that an account has changed. */
  onTold: (userId: string) => void;
  log: Log;
}

/** Opens what REDIS_URL names. Nobody waits for it to be there. */
export const openSharedMemory = (
  url: string,
  options: SharedMemoryOptions,
): Promise<SharedMemory> => {
  const redis = async (place: URL) => (await import("./redis.ts")).openRedis(place, options);
  return byScheme<SharedMemory>({ "redis:": redis, "rediss:": redis })(url);
};
