import { isIP } from "node:net";
import { charactersOf, type FieldProblem, fieldProblem } from "./problem.ts";
import { isPublicIp } from "./public-ip.ts";

/** Where webhooks may go besides public hosts. These are settings. */
export interface ReceiverRules {
  /** As `receivers` reads them. By http or https, also at private IPs. */
  webhooksAllow: readonly string[];
  /** Everything is allowed. */
  webhooksAllowPrivate: boolean;
}

const URL_MAX_LENGTH = 2048;
/** The URL parser would drop blanks and invisible characters, and read \ as /. */
const URL_SHAPE = /^https?:\/\/[^\s\p{C}\\/][^\s\p{C}\\]*$/iu;
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([\w-]{0,61}\w)?(\.[a-z0-9_]([\w-]{0,61}\w)?)*$/;
/** Names of this machine and of private networks (RFC 6761, 6762, 8375), or without a domain. */
const LOCAL_NAME = /^[^.]+$|\.(localhost|localdomain|local|internal|home\.arpa)$/;

/** The URL to which webhooks are sent, normalized. An IP in it is public, or allowed by a rule. */
export function readWebhookUrl(text: string, rules: ReceiverRules): string | FieldProblem {
  const refuse = (detail: string) => fieldProblem("/url", "wrong_format", detail);
  const given = text.trim();
  const tooLong = `may have at most ${charactersOf(URL_MAX_LENGTH)}`;
  if (given.length > URL_MAX_LENGTH) return fieldProblem("/url", "too_long", tooLong);
  const url = URL_SHAPE.test(given) ? parse(given) : null;
  if (!url) return refuse("is not a URL such as https://example.com/webhooks");
  if (url.href.length > URL_MAX_LENGTH) return fieldProblem("/url", "too_long", tooLong);
  const problem = problemOf(url, given) ?? (isAllowed(url, rules) ? undefined : riskOf(url));
  return problem === undefined ? url.href : refuse(problem);
}

/** Reads receivers such as `product.internal:8080`, separated by commas or blanks. */
export function receivers(text: string): string[] {
  const read = text.split(/[\s,]+/).filter((one) => one !== "");
  return read.map((one) => {
    const url = /^[^/?#@\\\p{C}]+:\d{1,5}$/u.test(one) ? parse(`http://${one}`) : null;
    if (!url || problemOf(url, "") !== undefined)
      throw new Error("must be hosts with a port, such as product.internal:8080, [fd00::7]:443");
    return hostPortOf(url);
  });
}

const hostPortOf = (url: URL): string => `${url.hostname}:${portOf(url)}`;

export const portOf = ({ port, protocol }: URL): number =>
  Number(port || (protocol === "https:" ? 443 : 80));

/** Whether the operator allows this receiver, also at a private IP. */
export const isAllowed = (url: URL, { webhooksAllow, webhooksAllowPrivate }: ReceiverRules) =>
  webhooksAllowPrivate || webhooksAllow.includes(hostPortOf(url));

/** The IP in the URL, without brackets. Undefined if the host is a name. */
export function ipOf({ hostname }: URL): string | undefined {
  const ip = hostname.replace(/^\[(.+)\]$/, "$1");
  return isIP(ip) > 0 ? ip : undefined;
}

/** Without a dot at the end of the host: DNS reads the same name, but certificates have no dot. */
function parse(text: string): URL | null {
  const url = URL.parse(text);
  if (url) url.hostname = url.hostname.replace(/\.$/, "");
  return url;
}

function problemOf(url: URL, given: string): string | undefined {
  if (/^https?:\/\/[^/?#]*@/i.test(given)) return "has a user or password before the host";
  if (given.includes("#")) return "has a fragment (#), which is never sent";
  if (BAD_PORTS.has(url.port)) return "has a port that belongs to another protocol";
  const isHost = ipOf(url) !== undefined || HOST_NAME.test(url.hostname);
  return isHost ? undefined : "has an invalid host name";
}

function riskOf(url: URL): string | undefined {
  if (url.protocol !== "https:")
    return "must begin with https://, unless WEBHOOKS_ALLOW has its host and port";
  const ip = ipOf(url);
  if (ip !== undefined) return isPublicIp(ip) ? undefined : "has an IP that is not public";
  return LOCAL_NAME.test(url.hostname) ? "has a host name that is not public" : undefined;
}

/** 0, and the "bad ports" of the Fetch standard: other protocols could read a body as commands. */
const BAD_PORTS = new Set(
  "0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080".split(
    " ",
  ),
);
