import type { NewMail } from "../mail/mail.ts";

export const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;

interface Kind {
  lifetimeMs: number;
  mail: NewMail["kind"];
  /** Our page that the link opens, unless the setting `redirect` names another. */
  page: string;
  redirect?: "verifyEmailUrl" | "resetPasswordUrl" | "signInUrl";
  /** Another link ends the oldest one. Undefined: only rate limits apply. */
  aliveMax?: number;
  /** The mail also has a six-digit code. */
  hasCode?: true;
  /** Stays valid when the email of the user changes. */
  isUnbound?: true;
}

/** The purposes of mailed links. */
const kinds = {
  verify_email: {
    lifetimeMs: DAY_MS,
    mail: "verify_email",
    aliveMax: 3,
    page: "/verify-email",
    redirect: "verifyEmailUrl",
  },
  reset_password: {
    lifetimeMs: HOUR_MS,
    mail: "reset_password",
    aliveMax: 3,
    page: "/reset-password",
    redirect: "resetPasswordUrl",
  },
  /** Sent to the new email. Verifies it, and makes it the user's email. */
  change_email: {
    lifetimeMs: DAY_MS,
    mail: "change_email",
    aliveMax: 3,
    page: "/verify-email",
    redirect: "verifyEmailUrl",
  },
  /** Sent to the old email. An attacker who changes the email again must not end it. */
  undo_email: {
    lifetimeMs: WEEK_MS,
    mail: "email_changed",
    page: "/undo-email",
    isUnbound: true,
  },
  /** One at a time: each valid code is another chance to guess one. */
  sign_in: {
    lifetimeMs: 10 * MINUTE_MS,
    mail: "sign_in",
    aliveMax: 1,
    page: "/sign-in",
    redirect: "signInUrl",
    hasCode: true,
  },
} as const satisfies Record<string, Kind>;
export type Purpose = keyof typeof kinds;
export const kindOf = (purpose: Purpose): Kind => kinds[purpose];

export const linkPages: string[] = [...new Set(Object.values(kinds).map(({ page }) => page))];
