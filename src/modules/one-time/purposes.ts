import type { NewMail } from "../mail/mail.ts";

export const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;

interface Kind {
  lifetimeMs: number;
  mail: NewMail["kind"];
  /** Where its link leads, and whose own page may stand there instead. */
  page: string;
  redirect?: "verifyEmailUrl" | "resetPasswordUrl" | "signInUrl";
  /** How many of them an account has at most: a newer one ends the oldest. Without it, as many as limits let through. */
  aliveMax?: number;
  /** Six digits stand beside the link, and do the same. */
  hasCode?: true;
  /** Good whatever address the account has by then. */
  isUnbound?: true;
}

/** What a mailed link can do. */
const kinds = {
  verify_email: {
    ...{ lifetimeMs: DAY_MS, mail: "verify_email", aliveMax: 3 },
    ...{ page: "/verify-email", redirect: "verifyEmailUrl" },
  },
  reset_password: {
    ...{ lifetimeMs: HOUR_MS, mail: "reset_password", aliveMax: 3 },
    ...{ page: "/reset-password", redirect: "resetPasswordUrl" },
  },
  /** Sent to the new address: proves it, and gives it to the account. */
  change_email: {
    ...{ lifetimeMs: DAY_MS, mail: "change_email", aliveMax: 3 },
    ...{ page: "/verify-email", redirect: "verifyEmailUrl" },
  },
  /** Sent to the old address. None ends another: a thief who changes it again and again does not get rid of the first. */
  undo_email: {
    ...{ lifetimeMs: WEEK_MS, mail: "email_changed" },
    ...{ page: "/undo-email", isUnbound: true },
  },
  /** One at a time: each code that is alive is a chance to guess one. */
  sign_in: {
    ...{ lifetimeMs: 10 * MINUTE_MS, mail: "sign_in", aliveMax: 1 },
    ...{ page: "/sign-in", redirect: "signInUrl", hasCode: true },
  },
} as const satisfies Record<string, Kind>;
export type Purpose = keyof typeof kinds;
export const kindOf = (purpose: Purpose): Kind => kinds[purpose];

/** The pages of ours behind mailed links. */
export const linkPages: string[] = [...new Set(Object.values(kinds).map(({ page }) => page))];
