import type { Config } from "../../src/config/config.ts";
import { startJobs } from "../../src/jobs.ts";
import { record } from "../../src/modules/events/events.ts";
import { openSenders } from "../../src/modules/webhooks/senders.ts";
import { atTheEnd } from "./postgres.ts";
import { openReceiver, type Received, type Receiver } from "./webhook-receiver.ts";
import { world } from "./world.ts";

const open = new Set<() => void | Promise<void>>();
const closeAll = async () => {
  for (const close of open) await close();
  open.clear();
};
atTheEnd(closeAll);

const ROOT = "root@example.com";
const SIGNED_IN_MS = 60_000;
const operator = { kind: "operator" } as const;

/** A delivery as the API shows it. */
interface Shown {
  id: string;
  event_id: string;
  event_type: string;
  state: string;
  attempts: number;
  next_attempt_at: string | null;
  response_status: number | null;
  response_body: string | null;
  error: string | null;
}

/** A world with a superuser and the job that delivers webhooks, which runs 50 times a second. */
export async function webhookWorld(settings: Partial<Config> = {}) {
  await closeAll();
  const here = await world({ webhooksAllowPrivate: true, rateLimit: "off", ...settings });
  const first = await here.superuser(ROOT);
  await here.sql`update users set email_verified = true`;
  let signedIn = { token: first.token, at: Date.now() };
  /** Signs in again after time has passed: an access token expires. */
  const currentToken = async () => {
    if (Date.now() - signedIn.at > SIGNED_IN_MS)
      signedIn = { token: (await here.signIn(ROOT)).access_token, at: Date.now() };
    return signedIn.token;
  };
  const call =
    (method: "get" | "post" | "patch" | "delete") => async (path: string, body?: unknown) =>
      here.as(await currentToken())[method](path, body);
  const root = {
    token: first.token,
    get: call("get"),
    post: call("post"),
    patch: call("patch"),
    delete: call("delete"),
  };
  const start = () => {
    const stop = startJobs(here.ctx, { "deliver webhooks": { everyMs: 20, open: openSenders } });
    open.add(stop);
    return stop;
  };
  const receiver = (answer?: Parameters<typeof openReceiver>[0]) => {
    const opened = openReceiver(answer);
    open.add(opened.close);
    return opened;
  };
  const webhookTo = async ({ url }: Pick<Receiver, "url">, more: object = {}) => {
    const { status, body } = await root.post("/webhooks", { url, events: ["*"], ...more });
    if (status !== 201) throw new Error(`POST /webhooks: ${JSON.stringify(body)}`);
    return { ...body, path: `/webhooks/${body.id}` };
  };
  const deliveriesOf = async (path: string) =>
    (await root.get(`${path}/deliveries?limit=200`)).body as Shown[];
  /** Records events about users that do not exist. Returns the ids of their subjects. */
  const recordEvents = async (count: number): Promise<string[]> => {
    const subjects = Array.from({ length: count }, () => crypto.randomUUID());
    for (const subjectId of subjects)
      await record(here.ctx, operator, { type: "user.deleted", subjectId, data: {} });
    return subjects;
  };
  return { ...here, root, start, receiver, webhookTo, deliveriesOf, recordEvents };
}

/** A webhook that gets the events of `recordEvents` only. */
export const onlyDeleted = { events: ["user.deleted"] };

export const subjectsOf = (received: Received[]): string[] =>
  received.map(({ body }) => body.subject);

/** The headers for the library standardwebhooks. */
export const signatureOf = ({ headers }: Received) => ({
  "webhook-id": headers["webhook-id"] ?? "",
  "webhook-timestamp": headers["webhook-timestamp"] ?? "",
  "webhook-signature": headers["webhook-signature"] ?? "",
});

export const ok = () => new Response("ok");
export const failing =
  (status = 500, headers = {}) =>
  () =>
    new Response("no", { status, headers });
