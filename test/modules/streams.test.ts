/** Streams of events: what is sent, to whom, and when a stream ends. */
import { expect, test } from "bun:test";
import { streamWorld } from "../support/stream-world.ts";
import { until } from "../support/streams.ts";

const typesOf = ({ events }: { events: { type: string }[] }) => events.map(({ type }) => type);

test("superusers follow all events by SSE, from the moment they ask", async () => {
  const { superuser, newUser, sse } = await streamWorld();
  const root = await superuser();
  const stream = await sse("/events/stream", root.token);
  expect(stream.status).toBe(200);
  expect(stream.headers.get("content-type")).toBe("text/event-stream");
  expect(stream.headers.get("cache-control")).toBe("no-store");
  expect(stream.headers.get("x-accel-buffering")).toBe("no");
  await until(() => stream.blocks.length > 0);
  expect(stream.blocks[0]).toEqual({ retry: "2000", id: expect.stringMatching(/^[0-9a-f]{32}$/) });
  const ada = await newUser();
  await until(() => stream.events.length === 2);
  expect(typesOf(stream)).toEqual(["user.created", "session.started"]);
  const listed = await root.get(`/events?subject=${ada.id}`);
  expect(stream.events).toEqual(listed.body);
  const [, first] = stream.blocks;
  expect(first?.id).toBe(stream.events[0]?.sequence);
  expect(first?.event).toBe("user.created");
});

test("superusers follow all events by WebSocket, after they subscribed", async () => {
  const { superuser, newUser, socket } = await streamWorld();
  const root = await superuser();
  const one = await socket("/events/ws", root.token);
  await newUser("eve@example.com");
  await Bun.sleep(100);
  expect(one.messages).toEqual([]);
  one.send({ type: "subscribe", events: ["user.created"] });
  await until(() => one.messages.length === 1);
  expect(one.messages[0]).toEqual({
    type: "subscribed",
    after: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
  const ada = await newUser();
  await until(() => one.events.length === 1);
  const listed = await root.get(`/events?subject=${ada.id}&type=user.created`);
  expect(one.events).toEqual(listed.body);
});
