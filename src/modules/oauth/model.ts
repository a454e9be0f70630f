import { t } from "elysia";
import { integer } from "../../http/schemas.ts";

const client = {
  client_id: t.Optional(
    t.String({ maxLength: 200, description: "The default is the public OAuth client `bunker`." }),
  ),
  client_secret: t.Optional(
    t.String({ maxLength: 200, description: "HTTP Basic is the alternative." }),
  ),
};
/** As long as a body may be: a token that is too long for ours is unknown, not invalid. */
const token = t.String({ minLength: 1, maxLength: 65_536 });
const hint = t.Optional(
  t.String({ maxLength: 100, description: "Ignored: a token shows its own type." }),
);

// RFC 6749, section 3.2: unknown parameters are ignored.
export const TokenForm = t.Object(
  {
    grant_type: t.String({ minLength: 1, maxLength: 200 }),
    scope: t.Optional(t.String({ maxLength: 1000 })),
    refresh_token: t.Optional(t.String({ maxLength: 65_536 })),
    username: t.Optional(t.String({ maxLength: 320 })),
    password: t.Optional(t.String({ maxLength: 512 })),
    ...client,
  },
  {
    additionalProperties: true,
    examples: [{ grant_type: "refresh_token", refresh_token: "rt_AZqsMFwbfU6dP2orjE4fcA…" }],
  },
);

export const SingleTokenForm = t.Object(
  { token, token_type_hint: hint, ...client },
  { additionalProperties: true, examples: [{ token: "rt_AZqsMFwbfU6dP2orjE4fcA…" }] },
);

export const GrantView = t.Object({
  access_token: t.String(),
  token_type: t.Literal("bearer"),
  expires_in: integer({ description: "Lifetime of the access token in seconds." }),
  refresh_token: t.Optional(t.String({ description: "Absent for `client_credentials`." })),
});

export const IntrospectionView = t.Object(
  {
    active: t.Boolean(),
    token_type: t.Optional(t.Literal("bearer")),
    username: t.Optional(t.String()),
    iss: t.Optional(t.String()),
    aud: t.Optional(t.String()),
    sub: t.Optional(t.String()),
    client_id: t.Optional(t.String()),
    jti: t.Optional(t.String()),
    sid: t.Optional(t.String()),
    iat: t.Optional(integer()),
    exp: t.Optional(integer()),
    auth_time: t.Optional(integer()),
  },
  { description: "For an invalid token, only `active: false` (RFC 7662)." },
);

export const MetadataView = t.Object(
  {
    issuer: t.String(),
    token_endpoint: t.String(),
    revocation_endpoint: t.String(),
    introspection_endpoint: t.String(),
    jwks_uri: t.String(),
    response_types_supported: t.Array(t.String()),
    grant_types_supported: t.Array(t.String()),
    token_endpoint_auth_methods_supported: t.Array(t.String()),
    revocation_endpoint_auth_methods_supported: t.Array(t.String()),
    introspection_endpoint_auth_methods_supported: t.Array(t.String()),
    service_documentation: t.String(),
  },
  { description: "Authorization server metadata (RFC 8414)." },
);
