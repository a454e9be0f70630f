/** A mailbox and its display name (RFC 5322, section 3.4). */
export interface MailAddress {
  name: string;
  address: string;
}

/** The variable content of a message. The rest comes from its template. */
export interface MailContent {
  link?: string | undefined;
  /** Digits that the user types in. */
  code?: string | undefined;
  /** When link and code expire (RFC 3339). The message is useless after that. */
  goodUntil?: string | undefined;
  /** The values of placeholders of the template, such as `{device}`. */
  details?: Record<string, string> | undefined;
}

export interface RenderedMail {
  subject: string;
  text: string;
  html: string;
}

/** A message to send. Headers are plain text: the transport encodes them (RFC 5322, RFC 2047). */
export interface Mail extends RenderedMail {
  /** Without angle brackets. The same at each retry, so that a server can recognize duplicates. */
  messageId: string;
  from: MailAddress;
  to: string;
}

export interface MailTransport {
  /** True if messages stay in the database, as a mailbox for developers. */
  isMailbox: boolean;
  /** Sends a message and returns the reply of the server. Throws a MailFailure. */
  send: (mail: Mail) => Promise<string>;
  close: () => void;
}

/** Renders messages and sends them from one sender. */
export interface Mailer extends MailTransport {
  from: MailAddress;
  /** True if the server was unavailable for the last message. */
  isUnavailable: boolean;
  render: (kind: string, locale: string | null, content: MailContent) => Promise<RenderedMail>;
}

/**
 * `rejected`: for good (RFC 5321, 5yz). `deferred`: a retry may succeed (4yz). `unavailable`: the
 * server cannot be used, so other messages would fail as well.
 */
export class MailFailure extends Error {
  readonly kind: "rejected" | "deferred" | "unavailable";

  constructor(kind: MailFailure["kind"], reply: string) {
    super(reply);
    this.name = "MailFailure";
    this.kind = kind;
  }
}

/** The outcome of a delivery. `dropped`: the message was not tried, and never will be. */
export type MailOutcome = "sent" | "dropped" | MailFailure["kind"];
