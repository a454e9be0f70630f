import { t } from "elysia";
import { newPassword } from "../../http/schemas.ts";
import { emailField, profile, usernameField } from "../users/model.ts";

const MADE_USERNAME =
  " If it is left out, it is made from the part of the email before the @, without the characters that a username cannot have. A suffix is added if the result is shorter than 3 characters, reserved (`root`, `admin`) or taken: `root-3b6288`. The response has the username.";

export const RegistrationBody = t.Object(
  {
    email: emailField,
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
