import type { Job } from "../ctx.ts";

/** The background jobs of the product. */
export const productJobs: Record<string, Job> = {};
