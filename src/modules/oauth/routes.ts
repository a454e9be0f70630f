import { Elysia, t } from "elysia";
import { readClientCredentials } from "../../credentials/client-credentials.ts";
import type { Ctx } from "../../ctx.ts";
import { DEVICE_HEADER } from "../../http/device.ts";
import { guard } from "../../http/guard.ts";
import { oauthFails } from "../../http/oauth-errors.ts";
import type { RequestParts } from "../../http/request-context.ts";
import { GrantView, IntrospectionView, MetadataView, SingleTokenForm, TokenForm } from "./model.ts";
import { grantsOn, grantToken, introspectToken, revokeToken } from "./oauth.ts";

const credentialsIn = (
  headers: RequestParts["headers"],
  form: { client_id?: string; client_secret?: string },
) => readClientCredentials(headers["authorization"], form);

/** Standard OAuth endpoints. First-party clients use /api/v1/auth. */
export const oauthRoutes = (ctx: Ctx) =>
  new Elysia({ name: "oauth", prefix: "/oauth", tags: ["oauth"] })
    .use(guard(ctx))
    .post(
      "/token",
      async ({ actor, body, headers, set }) => {
        set.headers["pragma"] = "no-cache";
        const input = { credentials: credentialsIn(headers, body), request: body };
        const { grant, deviceToken } = await grantToken(ctx, actor, input);
        if (deviceToken) set.headers[DEVICE_HEADER] = deviceToken;
        return grant;
      },
      {
        anonymous: [
          "refresh-address",
          "refresh-session",
          "login",
          "login-account",
          "login-streak",
          "login-address",
          "sign-ins",
          "requests-anonymous",
        ],
        requestHeaders: ["device-token"],
        responseHeaders: ["device-token"],
        detail: {
          operationId: "grantToken",
          summary: "Get a token",
          description:
            "The grants of RFC 6749: `refresh_token` continues a session. `client_credentials` gives a confidential OAuth client a token for itself. `password` signs a user in, and requires `OAUTH_PASSWORD_GRANT=on`.",
        },
        body: TokenForm,
        response: { 200: GrantView, ...oauthFails },
      },
    )
    .post(
      "/revoke",
      async ({ actor, body, headers }) => {
        const credentials = credentialsIn(headers, body);
        await revokeToken(ctx, actor, { credentials, token: body.token });
        return {};
      },
      {
        anonymous: ["requests", "requests-anonymous"],
        detail: {
          operationId: "revokeToken",
          summary: "Revoke a token",
          description:
            "Ends the session of the token (RFC 7009), even if the token is a spent refresh token. Only the OAuth client itself can revoke its own access token. Introspection then returns `active: false`, but services that verify the token offline accept it until it expires. An unknown token is not an error.",
        },
        body: SingleTokenForm,
        response: { 200: t.Object({}), ...oauthFails },
      },
    )
    .post(
      "/introspect",
      ({ actor, body, headers }) =>
        introspectToken(ctx, actor, {
          credentials: credentialsIn(headers, body),
          token: body.token,
        }),
      {
        anonymous: ["requests-anonymous"],
        detail: {
          operationId: "introspectToken",
          summary: "Introspect a token",
          description:
            "For confidential OAuth clients (RFC 7662). A refresh token that was spent more than `REFRESH_GRACE_SECONDS` ago is not active, and its session ends.",
        },
        body: SingleTokenForm,
        response: { 200: IntrospectionView, ...oauthFails },
      },
    );

const CACHED_SECONDS = 300;
const confidential = ["client_secret_basic", "client_secret_post"];

export const metadataRoutes = (ctx: Ctx) =>
  new Elysia({ name: "oauth metadata", tags: ["oauth"] }).use(guard(ctx)).get(
    "/.well-known/oauth-authorization-server",
    ({ set }) => {
      set.headers["cache-control"] = `public, max-age=${CACHED_SECONDS}`;
      const { publicUrl } = ctx.config;
      return {
        issuer: publicUrl,
        token_endpoint: `${publicUrl}/oauth/token`,
        revocation_endpoint: `${publicUrl}/oauth/revoke`,
        introspection_endpoint: `${publicUrl}/oauth/introspect`,
        jwks_uri: `${publicUrl}/.well-known/jwks.json`,
        response_types_supported: [],
        grant_types_supported: grantsOn(ctx),
        token_endpoint_auth_methods_supported: ["none", ...confidential],
        revocation_endpoint_auth_methods_supported: ["none", ...confidential],
        introspection_endpoint_auth_methods_supported: confidential,
        service_documentation: `${publicUrl}/docs`,
      };
    },
    {
      public: true,
      detail: {
        operationId: "getMetadata",
        summary: "Get the authorization server metadata",
        description: "Lists the endpoints and grants of this server (RFC 8414).",
      },
      response: { 200: MetadataView },
    },
  );
