import { connect } from "node:net";

const DRIP_EVERY_MS = 1_000;

/** Sends `text` and then a byte each second, until the server closes the connection. */
export function drip(port: number, text: string) {
  const from = performance.now();
  let said = "";
  const { promise: closed, resolve } = Promise.withResolvers<{ ms: number; said: string }>();
  const socket = connect(port, "127.0.0.1", () => socket.write(text));
  const dripping = setInterval(() => socket.write("x"), DRIP_EVERY_MS);
  const end = () => {
    clearInterval(dripping);
    socket.destroy();
    resolve({ ms: performance.now() - from, said });
  };
  socket.on("data", (chunk) => {
    said += chunk;
  });
  socket.on("error", end).on("close", end);
  return { closed, end };
}
