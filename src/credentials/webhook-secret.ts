import { createHmac, randomBytes } from "node:crypto";

/** The secrets that sign deliveries to one webhook: two during a rotation. */
export type WebhookSecrets = readonly [string, ...string[]];

const PREFIX = "whsec_";
const SECRET_BYTES = 32;

/** A secret of 256 bits, as Standard Webhooks writes it. */
export const newWebhookSecret = (): string => PREFIX + randomBytes(SECRET_BYTES).toString("base64");

/** A message as it is signed. Its id is the same at each retry, its timestamp is not. */
export interface WebhookMessage {
  id: string;
  timestamp: Date;
  body: string;
}

/** The headers of Standard Webhooks: one signature for each secret, separated by a space. */
export function signedHeaders(
  secrets: WebhookSecrets,
  { id, timestamp, body }: WebhookMessage,
): Record<string, string> {
  const seconds = Math.floor(timestamp.getTime() / 1000);
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), "base64");
    return `v1,${createHmac("sha256", key).update(`${id}.${seconds}.${body}`).digest("base64")}`;
  });
  return {
    "webhook-id": id,
    "webhook-timestamp": String(seconds),
    "webhook-signature": signatures.join(" "),
  };
}
