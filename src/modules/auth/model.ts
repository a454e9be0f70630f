import { t } from "elysia";
import { readBy } from "../../http/exact.ts";
import { literals, newPassword } from "../../http/schemas.ts";
import { readNewEmail } from "../../kit/names.ts";
import { accept, fieldProblem } from "../../kit/problem.ts";
import { logOutScopes } from "../sessions/sessions.ts";
import { profile, usernameField } from "../users/model.ts";

const email = t.String({
  minLength: 3,
  maxLength: 320,
  ...readBy<string>((value, { config }) => readNewEmail(value, config)),
  description: "An email that can receive mail.",
});

const MADE_USERNAME =
  " If it is left out, it is made from the part of the email before the @, without the characters that a username cannot have. A suffix is added if the result is shorter than 3 characters, reserved (`root`, `admin`) or taken: `root-3b6288`. The response has the username.";

export const Registration = t.Object(
  {
    email,
    password: newPassword("/password"),
    username: t.Optional(usernameField(MADE_USERNAME)),
    full_name: t.Optional(profile.full_name),
    locale: t.Optional(profile.locale),
  },
  {
    additionalProperties: false,
    description: "Only `email` and `password` are required.",
    examples: [
      {
        email: "ada@example.com",
        password: "correct horse battery staple",
        full_name: "Ada Lovelace",
      },
    ],
  },
);

const linkToken = t.String({
  minLength: 1,
  maxLength: 200,
  description: "The `token` of the mailed link.",
});
const password = t.String({ minLength: 1, maxLength: 512 });

export const LinkRequest = t.Object(
  { email },
  { additionalProperties: false, examples: [{ email: "ada@example.com" }] },
);

export const Verification = t.Object(
  { token: linkToken, password: t.Optional(password) },
  {
    additionalProperties: false,
    description:
      "Without the user's password and without an access token of the user, the password is dropped, because another person may have registered the email.",
    examples: [{ token: "ot_…", password: "correct horse battery staple" }],
  },
);

export const Reset = t.Object(
  { token: linkToken, password: newPassword("/password") },
  {
    additionalProperties: false,
    examples: [{ token: "ot_…", password: "a stable full of correct horses" }],
  },
);

export const MailedProof = t.Object(
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

export const AddressChange = t.Object(
  { email, current_password: t.Optional(password) },
  {
    additionalProperties: false,
    description: "The password is optional within ten minutes of the sign-in.",
    examples: [{ email: "ada@example.org", current_password: "correct horse battery staple" }],
  },
);

/** The same text for every outcome, so that it reveals nothing (CWE-204). */
export const Accepted = t.Object(
  { detail: t.String() },
  { title: "Accepted", description: "The request was accepted. The result is sent by email." },
);

export const Login = t.Object(
  {
    username: t.Optional(
      t.String({ minLength: 1, maxLength: 320, description: "Email or username." }),
    ),
    email: t.Optional(
      t.String({
        pattern: "@",
        maxLength: 320,
        description: "In place of `username`. Send exactly one of them.",
      }),
    ),
    password,
    grant_type: t.Optional(
      t.Union([t.Literal("password"), t.Literal("")], {
        description: "As in the form of the OAuth 2.0 password grant.",
      }),
    ),
    scope: t.Optional(t.Literal("", { description: "Scopes are not supported yet." })),
    client_id: t.Optional(t.Union([t.Literal("bunker"), t.Literal("")])),
    client_secret: t.Optional(t.Literal("")),
  },
  {
    additionalProperties: false,
    ...readBy<Names>(refuseOtherThanOne),
    description:
      "The form of the OAuth 2.0 password grant (RFC 6749, section 4.3.2), or the same fields as JSON. `email` can replace `username`.",
    oneOf: [{ required: ["username"] }, { required: ["email"] }],
    examples: [{ email: "ada@example.com", password: "correct horse battery staple" }],
  },
);

interface Names {
  username?: string;
  email?: string;
}

/** The problem of a sign-in that has neither an email nor a username, or both. */
function refuseOtherThanOne({ username, email }: Names) {
  if (username === undefined && email === undefined)
    return fieldProblem("/username", "missing", "is missing, and so is email: send one of them");
  if (username === undefined || email === undefined) return undefined;
  return fieldProblem("/email", "not_allowed", "cannot be sent together with username");
}

/** The email or username of a sign-in. Throws `invalid_request` unless there is exactly one. */
export function nameIn(names: Names): string {
  accept({ names: refuseOtherThanOne(names) });
  return names.username ?? names.email ?? "";
}

export const Refresh = t.Object(
  { refresh_token: t.String({ minLength: 1, maxLength: 512 }) },
  { additionalProperties: false, examples: [{ refresh_token: "rt_AZqsMFwbfU6dP2orjE4fcA…" }] },
);

export const LogOut = t.Optional(
  t.Object(
    {
      scope: t.Optional(literals(logOutScopes)),
      refresh_token: t.Optional(
        t.String({
          minLength: 1,
          maxLength: 512,
          description: "Replaces the Authorization header. Sending both returns 422.",
        }),
      ),
    },
    {
      additionalProperties: false,
      description: "The default scope is `current`.",
      examples: [{ scope: "all" }, { refresh_token: "rt_AZqsMFwbfU6dP2orjE4fcA…" }],
    },
  ),
);

export const TokenView = t.Object(
  {
    access_token: t.String({
      description: "A JWT (RFC 9068). Send it as `Authorization: Bearer <token>`.",
    }),
    token_type: t.Literal("bearer"),
    expires_in: t.Integer({ description: "Lifetime of the access token in seconds." }),
    refresh_token: t.String({
      description: "Valid once, for POST /api/v1/auth/refresh. Keep only the latest one.",
    }),
  },
  {
    title: "Token",
    description:
      "An access token, and the refresh token that continues the session after it expires.",
    examples: [
      {
        access_token: "eyJhbGciOi…",
        token_type: "bearer",
        expires_in: 900,
        refresh_token: "rt_AZqsMFwbfU6dP2orjE4fcA…",
      },
    ],
  },
);
