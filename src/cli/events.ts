import { setTimeout as sleep } from "node:timers/promises";
import type { Ctx } from "../ctx.ts";
import { type EventType, eventTypes, isEventType } from "../kit/event-types.ts";
import { Exit } from "../kit/exit.ts";
import { nearest } from "../kit/nearest.ts";
import { STOP_SIGNALS } from "../kit/signals.ts";
import { parseTime } from "../kit/time.ts";
import { type EventCursor, formatCursor, parseCursor } from "../modules/events/cursor.ts";
import { type Envelope, envelopeOf } from "../modules/events/envelope.ts";
import { type EventPage, latestCursor, readEvents, startOfTime } from "../modules/events/feed.ts";
import { BROKER_SINK } from "../modules/events/relay.ts";
import {
  COUNTED_MAX,
  countBehind,
  listSinks,
  listWebhookSinks,
  replayEvents,
} from "../modules/events/sinks.ts";
import { type JsonFlag, print, printList } from "../terminal.ts";
import { changeDatabase, readDatabase } from "./with-database.ts";

const PAGE_EVENTS = 500;

type Range = { after?: string; since?: string };
type ListFlags = JsonFlag & Range & { type?: string; limit?: number };

/** All events that match, oldest first. */
export const list = ({ json: isJson, after, since, type, limit }: ListFlags) =>
  readDatabase((ctx) =>
    printList(
      envelopes(ctx, {
        after: cursorIn(after),
        since: timeIn(since),
        types: selectedTypes(type),
        limit: limit ?? Number.POSITIVE_INFINITY,
      }),
      isJson,
      { json: (envelope) => envelope, text: lineOf, empty: "There is no such event." },
    ),
  );

interface Selection {
  after: EventCursor | undefined;
  since: Date | undefined;
  types: EventType[] | undefined;
  limit: number;
}

async function* envelopes(ctx: Ctx, { limit, ...selection }: Selection) {
  let left = limit;
  let page: EventPage | undefined;
  do {
    page = await readEvents(ctx, {
      ...selection,
      ...(page ? { after: page.end } : {}),
      limit: Math.min(left, PAGE_EVENTS),
    });
    for (const event of page.events) yield envelopeOf(ctx.config, event);
    left -= page.events.length;
  } while (page.hasMore && left > 0);
}

const FOLLOWED_EVERY_MS = 300;

/** Prints events as they come, until a stop signal: one line for each, also as JSON. */
export const tail = ({ json: isJson, after, type }: JsonFlag & { after?: string; type?: string }) =>
  readDatabase(async (ctx) => {
    const types = selectedTypes(type);
    let end = cursorIn(after) ?? (await latestCursor(ctx));
    let isStopped = false;
    for (const signal of STOP_SIGNALS)
      process.once(signal, () => {
        isStopped = true;
      });
    while (!isStopped) {
      const page = await readEvents(ctx, { after: end, types, limit: PAGE_EVENTS });
      for (const event of page.events) {
        const envelope = envelopeOf(ctx.config, event);
        print(isJson ? JSON.stringify(envelope) : lineOf(envelope));
      }
      end = page.end;
      if (!page.hasMore) await sleep(FOLLOWED_EVERY_MS);
    }
  });

export const lag = ({ json: isJson }: JsonFlag) =>
  readDatabase(async (ctx) => {
    const all = [...(await listSinks(ctx)), ...(await listWebhookSinks(ctx))];
    const sinks = all.map(async (sink) => ({
      ...sink,
      cursor: formatCursor(sink.cursor),
      behind: await countBehind(ctx, sink),
    }));
    await printList(await Promise.all(sinks), isJson, {
      json: ({ name, cursor, behind, waitedSeconds, holder }) => ({
        sink: name,
        cursor,
        events_behind: behind,
        waited_seconds: waitedSeconds,
        holder,
      }),
      text: ({ name, cursor, behind, waitedSeconds, holder }) => {
        const count = behind >= COUNTED_MAX ? `at least ${behind}` : behind;
        const by = name === BROKER_SINK ? `  ${holder ?? "no holder"}` : "";
        return `${name}  ${cursor}  ${count} events behind, ${Math.round(waitedSeconds)} s${by}`;
      },
      empty:
        "There is no message queue and no webhook. Set BROKER_URL and start the server, or create a webhook.",
    });
  });

export const replay = ({ json: isJson, after, since }: JsonFlag & Range) =>
  changeDatabase(isJson, async (ctx) => {
    const [cursor, time] = [cursorIn(after), timeIn(since)];
    if ((cursor === undefined) === (time === undefined))
      throw new Exit("usage", "Use --after CURSOR or --since TIME.");
    const start = cursor ?? (await startOfTime(ctx, time ?? ctx.now()));
    if ((await listSinks(ctx)).length === 0)
      throw new Exit("failed", "There is no message queue. Set BROKER_URL and start the server.");
    const shown = formatCursor(start);
    const isUnchanged = !(await replayEvents(ctx, start));
    const text = isUnchanged
      ? `The message queue does not have the events after ${shown} yet: nothing to replay.`
      : `The message queue gets all events after ${shown} again.`;
    const json = { sink: BROKER_SINK, cursor: shown, is_changed: !isUnchanged };
    return { json, text, isUnchanged };
  });

function cursorIn(text: string | undefined): EventCursor | undefined {
  if (text === undefined) return undefined;
  const cursor = parseCursor(text);
  if (cursor) return cursor;
  throw new Exit(
    "usage",
    "--after needs a cursor: the sequence of an event, 32 hexadecimal digits.",
  );
}

function timeIn(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const time = parseTime(text);
  if (time) return time;
  throw new Exit("usage", "--since needs a time such as 2026-01-31T00:00:00Z.");
}

const selectedTypes = (text: string | undefined) =>
  text === undefined ? undefined : typesIn("--type", text);

/** The types in the value of `flag`, separated by commas. */
export const typesIn = (flag: string, text: string): EventType[] =>
  text.split(",").map((part) => {
    const name = part.trim();
    if (isEventType(name)) return name;
    const intended = nearest(name, eventTypes);
    throw new Exit(
      "usage",
      `${flag} needs types of docs/events.md.${intended ? ` Did you mean ${intended}?` : ""}`,
    );
  });

const lineOf = ({ sequence, time, type, subject, data: { actor, ip } }: Envelope) =>
  `${sequence}  ${time}  ${type}  ${subject ?? "-"}  by ${actor.kind}${actor.id ? ` ${actor.id}` : ""}${ip ? ` from ${ip}` : ""}`;
