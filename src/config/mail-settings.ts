import type { MailAddress } from "../kit/mail.ts";
import { mailUrl } from "./service-urls.ts";
import {
  color,
  ehloName,
  line,
  mailAddress,
  onOff,
  optional,
  pageUrl,
  privateKeyPem,
  readableFile,
  readableFolder,
  setting,
  text,
} from "./setting.ts";

/** The settings of mail and of the pages that links lead to. Part of `settings`. */
export const mailSettings = {
  mailUrl: setting<string | undefined>({
    name: "MAIL_URL",
    doc: "The mail server: `smtp://user:password@host:587` or `smtps://…:465`. Percent-encode special characters. `smtp` uses STARTTLS if the server offers it. A password or `?tls=required` makes TLS mandatory, and `?tls=off` disables it. `?smtputf8=on` allows emails with characters beyond ASCII before the @. `mailbox:`, in development only, keeps emails at /dev/mailbox instead of sending them. Without MAIL_URL, emails wait in the outbox.",
    shown: "mailbox: in development; none in production",
    isSecret: true,
    parse: mailUrl,
    fallback: ({ isProduction }) => (isProduction ? undefined : "mailbox:"),
  }),
  mailCaFile: optional({
    name: "MAIL_CA_FILE",
    doc: "A PEM file with the certificate authority of the mail server.",
    shown: "the certificate authorities of the system",
    parse: readableFile,
  }),
  brandName: setting({
    name: "BRAND_NAME",
    doc: "The name of this service in emails and on the hosted pages.",
    parse: line,
    fallback: () => "Bunker",
  }),
  mailFrom: setting<MailAddress>({
    name: "MAIL_FROM",
    doc: "The sender of emails: `Example <no-reply@example.com>`.",
    shown: "no-reply@ the host of PUBLIC_URL",
    parse: mailAddress,
    fallback: ({ publicUrl, brandName }) => ({
      name: brandName,
      address: `no-reply@${new URL(publicUrl).hostname}`,
    }),
    format: ({ name, address }) => (name === "" ? address : `${name} <${address}>`),
  }),
  mailEhlo: optional({
    name: "MAIL_EHLO",
    doc: "The name that Bunker sends to the mail server (EHLO, RFC 5321): a host name, or an IP such as `[203.0.113.7]`.",
    shown: "the host of PUBLIC_URL",
    parse: ehloName,
  }),
  mailDkimKey: optional({
    name: "MAIL_DKIM_KEY",
    doc: "A private key in PEM that signs emails (DKIM, RFC 6376), for MAIL_DKIM_SELECTOR and the domain of MAIL_FROM. Not needed if the mail server signs.",
    isSecret: true,
    parse: privateKeyPem,
  }),
  mailDkimSelector: setting({
    name: "MAIL_DKIM_SELECTOR",
    doc: "The selector of MAIL_DKIM_KEY. Publish its public key in DNS at `<selector>._domainkey.<domain>`.",
    parse: text,
    fallback: () => "bunker",
  }),
  mailTemplates: optional({
    name: "MAIL_TEMPLATES",
    doc: "A folder with your own texts and layout for emails. See docs/guides/brand.md.",
    shown: "built in",
    parse: readableFolder,
  }),
  brandColor: setting({
    name: "BRAND_COLOR",
    doc: "The color of buttons in emails and on the hosted pages.",
    parse: color,
    fallback: () => "#1b1f24",
  }),
  brandLogo: optional({
    name: "BRAND_LOGO_URL",
    doc: "The URL of a logo for the top of emails and pages.",
    shown: "none: BRAND_NAME is shown instead",
    parse: pageUrl,
  }),
  productUrl: optional({
    name: "PRODUCT_URL",
    doc: "The URL of your product, such as `https://app.example.com`. The last page of each flow links to it.",
    shown: "the origin of the first *_REDIRECT_URL that is set",
    parse: pageUrl,
  }),
  requireEmailVerification: onOff({
    name: "REQUIRE_EMAIL_VERIFICATION",
    doc: "`on`: users can sign in only after they verify their email. Registration then returns the same response whether or not the email is taken, and only the email to its owner says which. Existing sessions continue.",
    fallback: "off",
  }),
  emailSignIn: onOff({
    name: "EMAIL_SIGN_IN",
    doc: "`on`: users can sign in with a mailed link or a mailed code of six digits. NIST SP 800-63B-4 (3.1.3.1) does not accept email as an authenticator.",
    fallback: "off",
  }),
  verifyEmailUrl: optional({
    name: "VERIFY_EMAIL_REDIRECT_URL",
    doc: "Your own page for links that verify an email, also a new email of a user. The link adds `?token=…`. The page calls POST /api/v1/auth/email/verify with that token and the user's password or access token.",
    shown: "the hosted page /verify-email",
    parse: pageUrl,
  }),
  resetPasswordUrl: optional({
    name: "RESET_PASSWORD_REDIRECT_URL",
    doc: "Your own page for links that set a new password. The page calls POST /api/v1/auth/password/reset.",
    shown: "the hosted page /reset-password",
    parse: pageUrl,
  }),
  signInUrl: optional({
    name: "SIGN_IN_REDIRECT_URL",
    doc: "Your own page for sign-in links. The page calls POST /api/v1/auth/email-code/verify. Required in production with EMAIL_SIGN_IN=on.",
    shown: "the hosted page /sign-in, in development only",
    parse: pageUrl,
  }),
};
