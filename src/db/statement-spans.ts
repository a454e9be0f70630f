import type { Tracing } from "../kit/tracing.ts";
import type { Sql } from "./db.ts";

/** A statement of the driver: a promise that sends itself when somebody waits for it. */
interface Statement extends Promise<unknown> {
  handle: () => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/** Makes a span of each statement, and of each transaction around them, that goes out through `sql`. */
export function traceStatements(sql: Sql, tracing: Tracing): Sql {
  const spanned = (statement: unknown, text: string) => {
    const it = statement as Statement;
    const { handle } = it;
    let isSent = false;
    it.handle = () => {
      if (!isSent) spanOf(it, text, tracing);
      isSent = true;
      return handle.call(it);
    };
    return statement;
  };
  const watched = (work: (tx: Sql) => unknown) => (tx: Sql) => work(traceStatements(tx, tracing));
  return new Proxy(sql, {
    apply: (target, _, [strings, ...values]) => {
      const made = Reflect.apply(target, target, [strings, ...values]);
      // Not each call is a statement: some make a part of one.
      const isStatement = tracing.follows() && Array.isArray(strings?.raw);
      return isStatement ? spanned(made, strings.join("?")) : made;
    },
    get: (target, name) => {
      const it = target[name as "begin"] as (...words: unknown[]) => Promise<unknown>;
      if (name === "unsafe" && tracing.follows())
        return (text: string, ...rest: unknown[]) => spanned(it(text, ...rest), text);
      if (name === "savepoint")
        return (...words: unknown[]) =>
          it(...words.map((one) => (isWork(one) ? watched(one) : one)));
      if (name === "begin")
        return (...words: unknown[]) =>
          tracing.within(TRANSACTION, () =>
            it(...words.map((one) => (isWork(one) ? watched(one) : one))),
          );
      return it;
    },
  });
}

const isWork = (word: unknown): word is (tx: Sql) => unknown => typeof word === "function";

/** By OpenTelemetry's semantic conventions for databases; the text of a statement is nobody's business. */
const system = { "db.system.name": "postgresql" };
const TRANSACTION = { name: "transaction", kind: "client", attributes: system } as const;

/** Lasts from when it is sent until it is answered. */
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
  // Whoever waits for the statement hears of it.
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

/** What it does to which table: `SELECT users`. */
function summaryOf(text: string): string {
  const had = known.get(text);
  if (had) return had;
  const found = TARGETS.map(([verb, target]) => [verb, target.exec(text)?.[1]] as const).find(
    ([, table]) => table,
  );
  const [first = ""] = /\w+/.exec(text) ?? [];
  const summary = found ? found.join(" ") : first.toUpperCase();
  if (known.size < KNOWN_MAX) known.set(text, summary);
  return summary;
}
