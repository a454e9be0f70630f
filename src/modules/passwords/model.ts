import { t } from "elysia";
import { newPassword } from "../../http/schemas.ts";

const currentPassword = t.String({ minLength: 1, maxLength: 512 });

export const PasswordChangeBody = t.Object(
  {
    current_password: currentPassword,
    new_password: newPassword("/new_password"),
  },
  {
    additionalProperties: false,
    examples: [
      {
        current_password: "correct horse battery staple",
        new_password: "a stable full of correct horses",
      },
    ],
  },
);

export const ReauthenticationBody = t.Optional(
  t.Object(
    { current_password: t.Optional(currentPassword) },
    {
      additionalProperties: false,
      description: "The password is optional within ten minutes of the sign-in.",
      examples: [{ current_password: "correct horse battery staple" }],
    },
  ),
);
