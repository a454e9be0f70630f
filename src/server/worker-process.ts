import { Problem } from "../kit/problem.ts";
import { STOP_SIGNALS } from "../kit/signals.ts";
import {
  ALIVE_EVERY_MS,
  type FromWorker,
  type Handlers,
  type Role,
  type ToWorker,
} from "./process-role.ts";
import { openReplies } from "./replies.ts";

/** Longer than the one that leads waits for the slowest of all and for itself, and shorter than a request may take. */
const METRICS_MAX_MS = 4_000;

const report = (message: FromWorker) => process.send?.(message);

/** A worker: it hears from the one that leads what to do, and ends with it, however that ends. */
export function follow(): Role {
  const texts = openReplies<string>();
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  // Its database may be gone with it, and its port is wanted by the next.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  // Who signals all processes of a group means the one that leads, and that passes it on.
  process.on("SIGHUP", () => {});
  const obey = async (message: ToWorker, { reload, metrics }: Handlers) => {
    if (message.kind === "stop") resolve();
    if (message.kind === "reload") reload();
    if (message.kind === "metricsResponse") texts.heard(message.id, message.text);
    if (message.kind === "snapshotRequest")
      report({
        ...{ kind: "snapshotResponse", id: message.id },
        snapshot: await metrics.snapshot(),
      });
  };
  return {
    purpose: "worker",
    isSeveral: true,
    gather: async () => {
      const text = await texts.ask((id) => report({ kind: "metricsRequest", id }), METRICS_MAX_MS);
      // An empty text would say that there is nothing to count any more.
      if (text === undefined) throw new Problem("busy");
      return text;
    },
    stopped: () => {
      const stop = () => {
        for (const signal of STOP_SIGNALS) process.off(signal, stop);
        resolve();
      };
      for (const signal of STOP_SIGNALS) process.on(signal, stop);
      return stopped;
    },
    begin: async (handlers) => {
      process.on("message", (message: ToWorker) => void obey(message, handlers));
      setInterval(() => report({ kind: "alive" }), ALIVE_EVERY_MS).unref();
      report({ kind: "ready" });
    },
    end: async () => {},
  };
}
