import { byScheme } from "../kit/by-scheme.ts";
import type { SharedMemory } from "../limits/shared-memory.ts";
import type { SharedMemoryOptions } from "./redis.ts";

/** Opens the server of REDIS_URL. Does not wait until it is connected. */
export const openSharedMemory = (
  url: string,
  options: SharedMemoryOptions,
): Promise<SharedMemory> => {
  const redis = async (server: URL) => (await import("./redis.ts")).openRedis(server, options);
  return byScheme<SharedMemory>({ "redis:": redis, "rediss:": redis })(url);
};
