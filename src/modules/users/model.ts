import { t } from "elysia";
import type { User } from "../../ctx.ts";
import { readBy } from "../../http/readers.ts";
import { text } from "../../http/schemas.ts";
import { readFullName, readLocale, readNewEmail, readUsername } from "../../kit/names.ts";
import type { UserChanges } from "./changes.ts";

const example = {
  id: "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70",
  email: "ada@example.com",
  username: "ada",
  full_name: "Ada Lovelace",
  is_active: true,
  is_superuser: false,
  email_verified: false,
  locale: "en",
  created_at: "2026-11-22T09:30:00.000Z",
  updated_at: "2026-11-22T09:30:00.000Z",
};

export const UserView = t.Object(
  {
    id: t.String({ format: "uuid", description: "UUIDv7: newer users have greater ids." }),
    email: t.String({ description: "As the user wrote it. Compared without case." }),
    username: t.String({
      description:
        "Compared without case. Never contains an @. If the registration had no username, it is made from the email, perhaps with a suffix (`root-3b6288`).",
    }),
    full_name: t.Nullable(t.String()),
    is_active: t.Boolean({
      description: "False: the user cannot sign in, and their access tokens are refused.",
    }),
    is_superuser: t.Boolean(),
    email_verified: t.Boolean({ description: "Whether the email is verified." }),
    locale: t.Nullable(t.String({ description: "Language tag (BCP 47)." })),
    created_at: t.String({ format: "date-time" }),
    updated_at: t.String({ format: "date-time" }),
  },
  { title: "User", description: "A person who can sign in.", examples: [example] },
);

/** The user as API callers see it: only what they may see. */
export const userView = (user: User) => ({
  id: user.id,
  email: user.email,
  username: user.username,
  full_name: user.fullName,
  is_active: user.isActive,
  is_superuser: user.isSuperuser,
  email_verified: user.emailVerified,
  locale: user.locale,
  created_at: user.createdAt.toISOString(),
  updated_at: user.updatedAt.toISOString(),
});

export const emailField = t.String({
  minLength: 3,
  maxLength: 320,
  ...readBy<string>((value, { config }) => readNewEmail(value, config)),
  description: "An email that can receive mail.",
});

/** `whenLeftOut` describes what happens if the field is left out. */
export const usernameField = (whenLeftOut = "") =>
  t.String({
    minLength: 3,
    maxLength: 32,
    ...readBy(readUsername),
    description: `3 to 32 ASCII letters, digits, dots, hyphens or underscores, at least one of them a letter or digit.${whenLeftOut}`,
  });

/** The fields that users may change in their own profile. */
export const profile = {
  username: usernameField(),
  full_name: t.Nullable(text({ minLength: 1, maxLength: 200 }), readBy(readFullName)),
  locale: t.Nullable(
    t.String({ minLength: 2, maxLength: 35, description: "Language tag (BCP 47)." }),
    readBy(readLocale),
  ),
};

const changes = {
  additionalProperties: false,
  description: "A field that is left out does not change. Null clears a field.",
};

export const ProfileChangesBody = t.Partial(t.Object(profile), {
  ...changes,
  examples: [{ full_name: "Ada King", locale: "en-GB" }],
});

export const UserChangesBody = t.Partial(
  t.Object({ ...profile, is_active: t.Boolean(), is_superuser: t.Boolean() }),
  {
    ...changes,
    examples: [{ is_active: false }],
  },
);

/** Maps wire names to domain names. */
export const changesOf = (body: typeof UserChangesBody.static) =>
  ({
    username: body.username,
    fullName: body.full_name,
    locale: body.locale,
    isActive: body.is_active,
    isSuperuser: body.is_superuser,
  }) satisfies Record<keyof UserChanges, unknown>;
