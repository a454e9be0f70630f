/** A mailbox, and the name that stands before it. */
export interface MailAddress {
  name: string;
  address: string;
}

/** What is said in a mail beside the words of its kind. */
export interface MailContent {
  link?: string | undefined;
  /** Digits to be typed where somebody asks for them. */
  code?: string | undefined;
  /** RFC 3339: from then on link and code do nothing any more, and the mail is of no use. */
  goodUntil?: string | undefined;
  /** What stands in the words for `{device}` and the like. */
  details?: Record<string, string> | undefined;
}

export interface RenderedMail {
  subject: string;
  text: string;
  html: string;
}

/** A mail as it goes out. Headers are text: whoever sends it encodes them (RFC 5322, RFC 2047). */
export interface Mail extends RenderedMail {
  /** Message-ID without its angle brackets: the same at each try, so that a server can tell a second one. */
  messageId: string;
  from: MailAddress;
  to: string;
}

export interface MailTransport {
  /** True where what was sent stays to be read here: the mailbox of a developer. */
  isMailbox: boolean;
  /** Hands a mail over, and answers what the server said. Throws a MailFailure. */
  send: (mail: Mail) => Promise<string>;
  close: () => void;
}

/** What sends mails, in whose name, and how it writes them. */
export interface Mailer extends MailTransport {
  from: MailAddress;
  /** Whether the last mail found no server. */
  isAway: boolean;
  render: (kind: string, locale: string | null, content: MailContent) => Promise<RenderedMail>;
}

/**
 * Why a mail did not go out. `refused`: the server will not take this one (RFC 5321, 5yz); `later`: it may take it another time
 * (4yz); `away`: the server is not there, and no other mail needs to be tried now.
 */
export class MailFailure extends Error {
  readonly kind: "refused" | "later" | "away";

  constructor(kind: "refused" | "later" | "away", answer: string) {
    super(answer);
    this.name = "MailFailure";
    this.kind = kind;
  }
}

/** What came of a mail. `dropped`: not even tried, and never will be. */
export type MailOutcome = "sent" | "dropped" | MailFailure["kind"];
