import { Exit } from "../kit/exit.ts";
import {
  ALIVE_EVERY_MS,
  type Crew,
  type Duties,
  type Order,
  type Report,
  STOP_SIGNALS,
} from "./crew.ts";
import { openReplies } from "./replies.ts";

/** Longer than the one that leads waits for the slowest of all. */
const FIGURES_MAX_MS = 3_000;

const report = (message: Report) => process.send?.(message);

/** A worker: it hears from the one that leads what to do, and ends with it, however that ends. */
export function follow(): Crew {
  const figures = openReplies<string>();
  const { promise: stopped, resolve: stop, reject: fail } = Promise.withResolvers<void>();
  process.on("disconnect", () => fail(new Exit("failed", "The process that leads is gone.")));
  const obey = async (order: Order, { reload, metrics }: Duties) => {
    if (order.kind === "stop") stop();
    if (order.kind === "reload") reload();
    if (order.kind === "figures") figures.heard(order.id, order.text);
    if (order.kind === "count")
      report({ kind: "counted", id: order.id, snapshot: await metrics().snapshot() });
  };
  return {
    purpose: "worker",
    isSeveral: true,
    gather: async () =>
      (await figures.ask((id) => report({ kind: "ask", id }), FIGURES_MAX_MS)) ?? "",
    begin: async (duties) => {
      process.on("message", (order: Order) => void obey(order, duties));
      // From a terminal, or from whoever ends one process of several: another takes its place unless all are to end.
      for (const signal of STOP_SIGNALS) process.on(signal, stop);
      setInterval(() => report({ kind: "alive" }), ALIVE_EVERY_MS).unref();
      report({ kind: "ready" });
    },
    stopped: () => stopped,
    end: async () => {},
  };
}
