/** A program that posts with the environment of its process: a proxy, other authorities. */
import { openOutgoing } from "../../src/adapters/outgoing.ts";

const rules = { webhooksAllow: [], webhooksAllowPrivate: true };
const outgoing = openOutgoing(rules, {
  now: () => new Date(),
  resolve: async () => ["127.0.0.1"],
});
const outcomes = [];
for (const url of process.argv.slice(2))
  outcomes.push(await outgoing.post(url, { headers: {}, body: "{}" }));
console.log(JSON.stringify(outcomes));
process.exit(0);
