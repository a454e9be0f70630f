import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { PUBLISHED_SECONDS, publishedKeys } from "./keys.ts";

export const keyRoutes = (ctx: Ctx) =>
  new Elysia({ name: "keys", tags: ["oauth"] }).use(guard(ctx)).get(
    "/.well-known/jwks.json",
    async ({ set }) => {
      const keys = await publishedKeys(ctx);
      set.headers["cache-control"] = `public, max-age=${PUBLISHED_SECONDS}`;
      return { keys: keys as Record<string, string>[] };
    },
    {
      public: true,
      detail: {
        operationId: "getKeys",
        summary: "Get the keys that verify access tokens",
        description:
          "A JWK Set (RFC 7517): the current key, the next one, and retired ones until the last token that they signed expires. With HS256, it lists only retired keys.",
      },
      response: {
        200: t.Object({
          keys: t.Array(t.Record(t.String(), t.String()), {
            examples: [
              [{ kty: "OKP", crv: "Ed25519", x: "…", kid: "…", alg: "EdDSA", use: "sig" }],
            ],
          }),
        }),
      },
    },
  );
