import type { MailAddress } from "./kit/mail.ts";
import {
  colour,
  httpUrl,
  mailAddress,
  mailUrl,
  privateKeyPem,
  readableFile,
  readableFolder,
  setting,
  text,
} from "./kit/setting.ts";

/** The settings for mails and what they lead to: a part of `settings`. */
export const mailSettings = {
  mailUrl: setting<string | undefined>({
    name: "MAIL_URL",
    doc: "How mails go out: `smtp://user:password@host:587` (STARTTLS; `?tls=required`, `?tls=off`), `smtps://…:465`, or `mailbox:`, which keeps them to be read at /dev/mailbox, in development only. Without it mails wait.",
    shown: "mailbox: in development",
    isSecret: true,
    parse: mailUrl,
    fallback: ({ isProduction }) => (isProduction ? undefined : "mailbox:"),
  }),
  mailCaFile: setting<string | undefined>({
    name: "MAIL_CA_FILE",
    doc: "A PEM file with the certificate authority of the mail server.",
    shown: "the system's authorities",
    parse: readableFile,
    fallback: () => undefined,
  }),
  mailFrom: setting<MailAddress | undefined>({
    name: "MAIL_FROM",
    doc: "Whom mails come from: `Example <no-reply@example.com>`.",
    shown: "no-reply@ the host of PUBLIC_URL",
    parse: mailAddress,
    fallback: () => undefined,
  }),
  mailDkimKey: setting<string | undefined>({
    name: "MAIL_DKIM_KEY",
    doc: "Signs mails (DKIM, RFC 6376): a private key in PEM, for MAIL_DKIM_SELECTOR and the domain of MAIL_FROM. Not needed where the mail server signs.",
    shown: "none",
    isSecret: true,
    parse: privateKeyPem,
    fallback: () => undefined,
  }),
  mailDkimSelector: setting({
    name: "MAIL_DKIM_SELECTOR",
    doc: "The selector of MAIL_DKIM_KEY: its public part stands in DNS at `<selector>._domainkey.<domain>`.",
    parse: text,
    fallback: () => "bunker",
  }),
  mailTemplates: setting<string | undefined>({
    name: "MAIL_TEMPLATES",
    doc: "A folder with other words and another frame for mails: see docs/mail.md.",
    shown: "our own",
    parse: readableFolder,
    fallback: () => undefined,
  }),
  brandName: setting({
    name: "BRAND_NAME",
    doc: "What mails call this service.",
    parse: text,
    fallback: () => "Bunker",
  }),
  brandColour: setting({
    name: "BRAND_COLOR",
    doc: "The colour of buttons in mails.",
    parse: colour,
    fallback: () => "#1b1f24",
  }),
  brandLogo: setting<string | undefined>({
    name: "BRAND_LOGO_URL",
    doc: "A picture for the head of mails.",
    shown: "none: the name stands there",
    parse: httpUrl,
    fallback: () => undefined,
  }),
  verifyEmailUrl: setting<string | undefined>({
    name: "VERIFY_EMAIL_REDIRECT_URL",
    doc: "A page of your own where a mailed link to verify an address leads, with `?token=…`: it calls POST /api/v1/auth/email/verify.",
    shown: "our own page, /verify-email",
    parse: httpUrl,
    fallback: () => undefined,
  }),
  resetPasswordUrl: setting<string | undefined>({
    name: "RESET_PASSWORD_REDIRECT_URL",
    doc: "The same for a new password: it calls POST /api/v1/auth/password/reset.",
    shown: "our own page, /reset-password",
    parse: httpUrl,
    fallback: () => undefined,
  }),
};
