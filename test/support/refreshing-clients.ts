import { setTimeout as sleep } from "node:timers/promises";

/** Failures between a client and the server, each with its probability for one request. */
export interface Trouble {
  /** The request never arrives. */
  lostRequest: number;
  /** The response is lost. */
  lostAnswer: number;
  /** A proxy sends the request twice at once, or again a little later. */
  duplicate: number;
  /** The client changes its network before a retry. */
  move: number;
}

export interface RefreshingClient {
  agent: string;
  /** Sent with each request, if the client keeps it. */
  device: string | undefined;
  ip: string;
  /** Shared by all tabs, as in the local storage of a browser. */
  refreshToken: string;
  isSignedOut: boolean;
}

const LATE_MS = 300;
const THINK_MS = 150;
const TABS = 3;
const TURNS = 4;
const STALE = 0.2;

const happens = (probability: number) => Math.random() < probability;
const byte = () => Math.floor(Math.random() * 254) + 1;
export const anyIp = (): string => `100.${byte()}.${byte()}.${byte()}`;
const neighborOf = (ip: string) => ip.replace(/\d+$/, String(byte()));

export const refresh = (
  url: string,
  token: string,
  { agent, ip, device }: Pick<RefreshingClient, "agent" | "ip" | "device">,
): Promise<Response> =>
  fetch(`${url}/api/v1/auth/refresh`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "user-agent": agent,
      "x-forwarded-for": ip,
      ...(device ? { "device-token": device } : {}),
    },
    body: JSON.stringify({ refresh_token: token }),
  });

/** Refreshes in several tabs over a bad network, and retries until there is a response. */
export async function refreshInTabs(
  urls: string[],
  client: RefreshingClient,
  trouble: Trouble,
): Promise<void> {
  await Promise.all(Array.from({ length: TABS }, () => refreshInTab(urls, client, trouble)));
  if (!client.isSignedOut) await refreshOnce(urls, client, { trouble, from: client.refreshToken });
}

async function refreshInTab(
  urls: string[],
  client: RefreshingClient,
  trouble: Trouble,
): Promise<void> {
  for (let turn = 0; turn < TURNS && !client.isSignedOut; turn += 1) {
    const from = client.refreshToken;
    // A slow tab has read its token before another tab has stored the next one.
    await sleep(happens(STALE) ? Math.random() * THINK_MS : 0);
    await refreshOnce(urls, client, { trouble, from });
    await sleep(Math.random() * THINK_MS);
  }
}

/**
 * Retries until there is a response. After a 401 it uses the token that another tab has stored; if
 * there is none, the client is signed out.
 */
async function refreshOnce(
  urls: string[],
  client: RefreshingClient,
  { trouble, from }: { trouble: Trouble; from: string },
): Promise<void> {
  let token = from;
  while (!client.isSignedOut) {
    const answer = await overBadNetwork(urls, client, { trouble, token });
    if (answer?.status === 200) {
      const { refresh_token: next } = (await answer.json()) as { refresh_token: string };
      if (client.refreshToken === token) client.refreshToken = next;
      return;
    }
    if (answer?.status === 401) {
      client.isSignedOut = client.refreshToken === token;
      token = client.refreshToken;
    } else if (happens(trouble.move)) client.ip = anyIp();
    else client.ip = neighborOf(client.ip);
  }
}

/** Undefined if the client gets no response. */
async function overBadNetwork(
  urls: string[],
  client: RefreshingClient,
  { trouble, token }: { trouble: Trouble; token: string },
): Promise<Response | undefined> {
  if (happens(trouble.lostRequest)) return undefined;
  const from = { ...client };
  const urlOf = () => urls[Math.floor(Math.random() * urls.length)] ?? "";
  const first = refresh(urlOf(), token, from);
  if (happens(trouble.duplicate)) void again(first, () => refresh(urlOf(), token, from));
  const answer = await first;
  return happens(trouble.lostAnswer) ? undefined : answer;
}

async function again(first: Promise<Response>, send: () => Promise<Response>): Promise<void> {
  if (happens(0.5)) await Promise.all([first, sleep(Math.random() * LATE_MS)]);
  await (await send()).text();
}

/** Does the work for each, that many at a time. */
export async function each<T>(
  list: T[],
  together: number,
  work: (one: T) => Promise<void>,
): Promise<void> {
  const left = [...list];
  const worker = async () => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) await work(one);
  };
  await Promise.all(Array.from({ length: together }, worker));
}
