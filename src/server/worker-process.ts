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

/** Longer than the primary process waits for all workers, shorter than a request may take. */
const METRICS_MAX_MS = 4_000;

const report = (message: FromWorker) => process.send?.(message);

/** Takes its orders from the primary process, and ends with it, however that ends. */
export function workerRole(): Role {
  const texts = openReplies<string>();
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  // The embedded database ends with the primary process, and a new one needs the port.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  // A signal to the whole process group is meant for the primary process, which passes it on.
  process.on("SIGHUP", () => {});
  const handle = async (message: ToWorker, { reload, metrics }: Handlers) => {
    if (message.kind === "stop") resolve();
    if (message.kind === "reload") reload();
    if (message.kind === "metricsResponse") texts.receive(message.id, message.text);
    if (message.kind === "snapshotRequest")
      report({ kind: "snapshotResponse", id: message.id, snapshot: await metrics.snapshot() });
  };
  return {
    purpose: "worker",
    isSeveral: true,
    gather: async () => {
      const text = await texts.request(
        (id) => report({ kind: "metricsRequest", id }),
        METRICS_MAX_MS,
      );
      // An empty text would mean that all metrics have disappeared.
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
      process.on("message", (message: ToWorker) => void handle(message, handlers));
      setInterval(() => report({ kind: "alive" }), ALIVE_EVERY_MS).unref();
      report({ kind: "ready" });
    },
    end: async () => {},
  };
}
