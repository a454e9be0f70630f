import { setSystemTime } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import { getTableName } from "drizzle-orm";
import { createApp } from "../../src/app.ts";
import { type Config, readConfig } from "../../src/config/config.ts";
import type { Principal } from "../../src/ctx.ts";
import { openChanges } from "../../src/db/changes.ts";
import { openDatabase } from "../../src/db/db.ts";
import { type EventType, eventDefinitions } from "../../src/kit/event-types.ts";
import { openLoad } from "../../src/kit/load.ts";
import { noMetrics } from "../../src/kit/metrics.ts";
import { noTracing } from "../../src/kit/tracing.ts";
import { noSharedStore } from "../../src/limits/shared-store.ts";
import { events } from "../../src/modules/events/tables.ts";
import { prepareKeys } from "../../src/modules/keys/keys.ts";
import { openRenderer } from "../../src/modules/mail/render.ts";
import { updateUser } from "../../src/modules/users/users.ts";
import { createPipeline, type Pipeline } from "../../src/pipeline.ts";
import { productRoutes } from "../../src/product/routes.ts";
import { productTables } from "../../src/product/tables.ts";
import { createCtx } from "../../src/wire.ts";
import { atTheEnd, freshDatabase } from "./postgres.ts";

// One database for all worlds, one after the other: each begins without rows.
const place = await freshDatabase();
export const database = openDatabase({
  place,
  poolSize: 10,
  connectTimeoutSeconds: 5,
  statementTimeoutSeconds: 5,
});
const silence = () => {};
const load = openLoad(1);
const { principals, eventSignal, closeChanges } = openChanges<Principal>({
  place,
  pool: database.sql,
  log: { debug: silence, info: silence, warn: silence, error: silence },
  cacheSize: 1000,
  load,
});
atTheEnd(database.close);
atTheEnd(closeChanges);

export const PASSWORD = "correct horse battery staple";
export const SECRET = "k3Jd0sLq8vXz2mNb7TyUw5RfGh1PcAe9";

/** The body of a response, parsed if it is JSON. */
export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads the members that it expects
  body: any;
  headers: Headers;
}

const tables =
  "webhooks webhook_deliveries events event_cursors erasures limits mails mail_requests one_time_secrets registrations signing_keys key_uses clients revoked_tokens idempotency users";
// TRUNCATE creates new files for each table and index, which takes 50 ms.
const emptying = [...productTables.map(getTableName), ...tables.split(" ")]
  .map((table) => `delete from ${table}`)
  .join(";");

/** A cheap hash for tests that are not about its cost: the default takes some 30 ms of one core. */
const passwordHash = { kibibytes: 8, passes: 1 };

let pipeline: Pipeline | undefined;

/** Throws if the previous world recorded an event whose data does not match its type. */
async function checkEvents(): Promise<void> {
  const recorded = await database.db
    .selectDistinct({ type: events.type, data: events.data })
    .from(events)
    .limit(1_000);
  for (const { type, data } of recorded) {
    const definition = eventDefinitions[type as EventType];
    if (definition && !Value.Check(definition.data, data))
      throw new Error(`The data of ${type} does not match its schema: ${JSON.stringify(data)}`);
  }
}

/** A new world: no rows, a clock that the test sets, and users that register through the API. */
export async function world(settings: Partial<Config> = {}) {
  await checkEvents();
  await database.sql.unsafe(emptying);
  const { config: usual } = readConfig({ SECRET_KEY: SECRET });
  const audience = settings.publicUrl ?? usual.audience;
  const config: Config = { ...usual, passwordHash, audience, logAccess: "off", ...settings };
  const logged: { fields: object; sentence: string }[] = [];
  const note = (fields: object, sentence: string) => void logged.push({ fields, sentence });
  const brand = { name: "Bunker", color: "#1b1f24", logo: undefined };
  const render = openRenderer(brand, undefined);
  const ctx = createCtx(config, {
    broker: undefined,
    database,
    eventSignal,
    principals,
    hashingBounds: { atOnce: 2, queueMax: 200, waitMaxMs: 30_000 },
    lifecycle: { isStopping: false },
    load,
    log: { debug: note, info: note, warn: note, error: note },
    mail: {
      isMailbox: true,
      isUnavailable: false,
      send: async () => "kept",
      close: () => {},
      from: { name: "Bunker", address: "no-reply@localhost" },
      render: async (...mail) => render(...mail),
    },
    metrics: noMetrics,
    now: () => new Date(),
    readiness: async () => ({ database: "ok", migrations: "ok", disk: "ok" }),
    secrets: [SECRET],
    sharedStore: noSharedStore,
    tracing: noTracing,
  });
  await prepareKeys(ctx);
  const app = createApp(ctx);
  pipeline?.close();
  pipeline = createPipeline(ctx, app);
  const { handle: handleRaw } = pipeline;
  /** Handles a request as the server does. Without a Host header, it is for localhost. */
  const handle = (request: Request) => {
    if (!request.headers.has("host")) request.headers.set("host", "localhost");
    return handleRaw(request);
  };
  // As from a proxy on this machine: without a socket, only X-Forwarded-For has the client IP.
  if (config.trustedProxies.length > 0)
    app.server = { requestIP: () => ({ address: "127.0.0.1" }) } as unknown as typeof app.server;

  const send = async (method: string, path: string, init: RequestInit = {}): Promise<Answer> => {
    const url = `http://localhost${path.startsWith("/") ? path : `/${path}`}`;
    const response = await handle(new Request(url, { method, ...init }));
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json");
    return {
      status: response.status,
      body: isJson && text !== "" ? JSON.parse(text) : text,
      headers: response.headers,
    };
  };
  const as = (token?: string) => {
    const call = (method: string) => (path: string, body?: unknown) => {
      const headers = new Headers(token ? { authorization: `Bearer ${token}` } : {});
      if (body !== undefined) headers.set("content-type", "application/json");
      const rest = body === undefined ? {} : { body: JSON.stringify(body) };
      return send(method, `/api/v1${path}`, { headers, ...rest });
    };
    return {
      get: call("GET"),
      post: call("POST"),
      put: call("PUT"),
      patch: call("PATCH"),
      delete: call("DELETE"),
      token: token ?? "",
    };
  };
  const anonymous = as();
  const newUser = async (email = "ada@example.com", password = PASSWORD) => {
    const { body: user } = await anonymous.post("/auth/register", { email, password });
    const { body: token } = await anonymous.post("/auth/login", { username: email, password });
    const refreshToken = String(token.refresh_token);
    return { ...as(token.access_token), id: String(user.id), user, refreshToken };
  };
  const signIn = async (username: string, headers: Record<string, string> = {}) => {
    const answer = await send("POST", "/api/v1/auth/login", {
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({ username, password: PASSWORD }),
    });
    return answer.body as { access_token: string; refresh_token: string };
  };
  const refresh = (token: string) => anonymous.post("/auth/refresh", { refresh_token: token });
  const superuser = async (email = "root@example.com") => {
    const one = await newUser(email);
    await updateUser(ctx, { kind: "operator" }, { id: one.id, isSuperuser: true });
    return one;
  };
  const pathsOfProduct = new Set<string>(productRoutes(ctx).routes.map(({ path }) => path));
  /** The routes of Bunker, for tests that name each of them: a product in a clone adds others. */
  const bunkerRoutes = app.routes.filter(({ path }) => !pathsOfProduct.has(path));
  const pass = (ms: number) => void setSystemTime(new Date(Date.now() + ms));
  return {
    ctx,
    app,
    bunkerRoutes,
    handle,
    sql: database.sql,
    send,
    as,
    anonymous,
    pass,
    logged,
    newUser,
    superuser,
    signIn,
    refresh,
  };
}
