import { t } from "elysia";
import { readBy } from "../../http/readers.ts";
import { literals } from "../../http/schemas.ts";
import { accept, fieldProblem } from "../../kit/problem.ts";
import { logOutScopes } from "../sessions/sessions.ts";

const password = t.String({ minLength: 1, maxLength: 512 });

export const LoginBody = t.Object(
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

export const RefreshBody = t.Object(
  { refresh_token: t.String({ minLength: 1, maxLength: 512 }) },
  { additionalProperties: false, examples: [{ refresh_token: "rt_AZqsMFwbfU6dP2orjE4fcA…" }] },
);

export const LogOutBody = t.Optional(
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
