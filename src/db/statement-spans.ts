import type { Sql } from "postgres";
import type { Tracing } from "../kit/tracing.ts";

/** A statement of the driver: a promise that is sent when it is first awaited. */
interface Statement extends Promise<unknown> {
  handle: () => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export function traceStatements(sql: Sql, tracing: Tracing): Sql {
  const spanned = (statement: unknown, text: string) => {
    const sent = statement as Statement;
    const { handle } = sent;
    let isSent = false;
    sent.handle = () => {
      if (!isSent) spanOf(sent, text, tracing);
      isSent = true;
      return handle.call(sent);
    };
    return statement;
  };
  const traced = (work: (tx: Sql) => unknown) => (tx: Sql) => work(traceStatements(tx, tracing));
  return new Proxy(sql, {
    apply: (target, _, [strings, ...values]) => {
      const result = Reflect.apply(target, target, [strings, ...values]);
      // Some calls make only a fragment of a statement.
      const isStatement = tracing.hasSpan() && Array.isArray(strings?.raw);
      return isStatement ? spanned(result, strings.join("?")) : result;
    },
    get: (target, name) => {
      const method = target[name as "begin"] as (...args: unknown[]) => Promise<unknown>;
      if (name === "unsafe" && tracing.hasSpan())
        return (text: string, ...rest: unknown[]) => spanned(method(text, ...rest), text);
      if (name !== "begin" && name !== "savepoint") return method;
      return (...args: unknown[]) => {
        const run = () => method(...args.map((arg) => (isWork(arg) ? traced(arg) : arg)));
        return name === "begin" ? tracing.within(TRANSACTION, run) : run();
      };
    },
  });
}

const isWork = (arg: unknown): arg is (tx: Sql) => unknown => typeof arg === "function";

/** OpenTelemetry's conventions. A span never has the text of a statement, or personal data. */
const system = { "db.system.name": "postgresql" };
const TRANSACTION = { name: "transaction", kind: "client", attributes: system } as const;

/** Records a span from sending a statement until its answer. */
function spanOf(statement: Statement, text: string, tracing: Tracing): void {
  const name = summaryOf(text);
  const attributes = { ...system, "db.query.summary": name };
  const answered = tracing.within({ name, kind: "client", attributes }, async (span) => {
    if (!span) return;
    const { resolve, reject } = statement;
    await new Promise<void>((done, fail) => {
      statement.resolve = (value) => {
        done();
        resolve(value);
      };
      statement.reject = (error) => {
        fail(error);
        reject(error);
      };
    });
  });
  // The caller of the statement gets the error.
  answered.catch(() => {});
}

const TARGETS = [
  ["INSERT", /\binsert into "?(\w+)/i],
  ["UPDATE", /\bupdate "?(\w+)"? set\b/i],
  ["DELETE", /\bdelete from "?(\w+)/i],
  ["SELECT", /\bfrom "?(\w+)/i],
] as const;
const KNOWN_MAX = 1_000;
const known = new Map<string, string>();

/** The operation and the table: `SELECT users`. */
function summaryOf(text: string): string {
  const cached = known.get(text);
  if (cached) return cached;
  const found = TARGETS.map(([verb, target]) => [verb, target.exec(text)?.[1]] as const).find(
    ([, table]) => table,
  );
  const [first = ""] = /\w+/.exec(text) ?? [];
  const summary = found ? found.join(" ") : first.toUpperCase();
  if (known.size < KNOWN_MAX) known.set(text, summary);
  return summary;
}
