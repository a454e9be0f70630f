import { t } from "elysia";
import { newPassword } from "../../http/schemas.ts";
import { emailField } from "../users/model.ts";

const email = emailField;
const linkToken = t.String({
  minLength: 1,
  maxLength: 200,
  description: "The `token` of the mailed link.",
});
const password = t.String({ minLength: 1, maxLength: 512 });

export const LinkRequestBody = t.Object(
  { email },
  { additionalProperties: false, examples: [{ email: "ada@example.com" }] },
);

export const VerificationBody = t.Object(
  { token: linkToken, password: t.Optional(password) },
  {
    additionalProperties: false,
    description:
      "Without the user's password and without an access token of the user, the password is dropped, because another person may have registered the email.",
    examples: [{ token: "ot_…", password: "correct horse battery staple" }],
  },
);

export const ResetBody = t.Object(
  { token: linkToken, password: newPassword("/password") },
  {
    additionalProperties: false,
    examples: [{ token: "ot_…", password: "a stable full of correct horses" }],
  },
);

export const MailedCredentialBody = t.Object(
  {
    token: t.Optional(linkToken),
    email: t.Optional(email),
    code: t.Optional(
      t.String({
        pattern: "^[0-9]{3} ?[0-9]{3}$",
        description: "The six-digit code in the mail.",
      }),
    ),
  },
  {
    additionalProperties: false,
    description: "The `token` of the mailed link, or the email and the code.",
    examples: [{ email: "ada@example.com", code: "492017" }],
  },
);

export const EmailChangeBody = t.Object(
  { email, current_password: t.Optional(password) },
  {
    additionalProperties: false,
    description: "The password is optional within ten minutes of the sign-in.",
    examples: [{ email: "ada@example.org", current_password: "correct horse battery staple" }],
  },
);
