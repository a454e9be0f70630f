/** Readers of service URLs. Each may have a password, so no message repeats a part of one. */
import { readPostgresUrl } from "./postgres-url.ts";

export function mailUrl(value: string): string {
  const url = URL.parse(value);
  if (url?.protocol === "mailbox:") return value;
  if (/^smtps?:/.test(value) && value.includes("@") && !url) throw new Error(NOT_ENCODED);
  if (!url || !/^smtps?:$/.test(url.protocol) || url.hostname === "" || url.port === "0")
    throw new Error("must be a URL such as smtp://user:password@mail.example.com:587, or mailbox:");
  const isWhole = /^\/?$/.test(url.pathname) && !/[@#]/.test(url.search + url.hash);
  if (!isWhole || !isEncoded(url)) throw new Error(NOT_ENCODED);
  const tls = url.searchParams.get("tls") ?? "off";
  if (!["off", "required"].includes(tls))
    throw new Error("has a ?tls that is neither off nor required");
  const smtpUtf8 = url.searchParams.get("smtputf8") ?? "off";
  if (!["off", "on"].includes(smtpUtf8))
    throw new Error("has a ?smtputf8 that is neither off nor on");
  return value;
}

const NOT_ENCODED =
  "has a user or password whose special characters are not percent-encoded (@ is %40, / is %2F)";

/** Only checks the URL. The database code parses it again. */
export function postgresUrl(value: string): string {
  readPostgresUrl(value);
  return value;
}

export function redisUrl(value: string): string {
  const url = URL.parse(value);
  if (!url || !/^rediss?:$/.test(url.protocol) || url.hostname === "" || url.port === "0")
    throw new Error("must be a URL such as redis://:password@host:6379/0, or rediss:// for TLS");
  // With an unencoded # or ?, messages would show the beginning of the password as the host.
  const isWhole = /^(\/\d{0,4})?$/.test(url.pathname) && !/[@#]/.test(url.search + url.hash);
  if (!isWhole || !isEncoded(url))
    throw new Error(
      "has a password whose special characters are not percent-encoded (@ is %40), or a database that is not a number",
    );
  return value;
}

/** `amqp`, `amqps`: RabbitMQ, with a virtual host as path. `nats`, `tls`: NATS, without a path. */
export function brokerUrl(value: string): string {
  const url = URL.parse(value);
  // URL checks the host of a scheme that it knows only.
  const isPlace = url && /^([\w.-]+|\[.+\])$/.test(url.hostname) && url.port !== "0";
  if (!isPlace || !/^(amqps?|nats|tls):$/.test(url.protocol))
    throw new Error(
      "must be a URL such as amqp://user:password@host:5672/vhost or nats://user:password@host:4222; amqps:// and tls:// encrypt",
    );
  const path = /^amqps?:$/.test(url.protocol) ? /^(\/[^/]*)?$/ : /^\/?$/;
  const isWhole = path.test(url.pathname) && url.search + url.hash === "";
  if (!isWhole || !isEncoded(url) || !canDecode(url.pathname))
    throw new Error(
      "has a part that Bunker does not read, or a password whose special characters are not percent-encoded (@ is %40, / is %2F)",
    );
  return value;
}

/** Refuses a URL that was encoded as a whole: messages would show its password as the host. */
const isEncoded = ({ hostname, username, password }: URL): boolean =>
  !hostname.includes("%") && [username, password].every(canDecode);

export function canDecode(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
