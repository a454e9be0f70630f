/** `bun publish.ts URL` publishes one message, and prints "accepted" or why not. */
import { openBroker } from "../../src/adapters/broker.ts";
import { BrokerFailure } from "../../src/kit/broker.ts";

const broker = openBroker(Bun.argv[2] ?? "");
const message = { id: crypto.randomUUID(), type: "user.created", time: new Date(0), body: "{}" };
const outcome = await broker.publish([message]).then(
  () => "accepted",
  (error) => (error instanceof BrokerFailure ? error.reason : String(error)),
);
await broker.close();
console.log(outcome);
