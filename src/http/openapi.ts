import { swagger } from "@elysiajs/swagger";
import { Elysia } from "elysia";
import styles from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import { version } from "../kit/build.ts";
import { Problem } from "../kit/problem.ts";
import { corrected, type Document } from "./openapi-correction.ts";

/** The page's script and style come with us: the page works with the network cut, and runs nobody else's code. */
const assets = new Map([
  ["swagger-ui-bundle.js", { file: bundle, type: "text/javascript; charset=utf-8" }],
  ["swagger-ui.css", { file: styles, type: "text/css; charset=utf-8" }],
]);

const documentation = {
  info: {
    title: "Bunker",
    version,
    description: "Accounts and sign-in for your product: register, sign in, and manage users.",
    license: { name: "MIT", identifier: "MIT" },
  },
  servers: [{ url: "/", description: "This server" }],
  tags: [
    { name: "auth", description: "Register and sign in." },
    { name: "users", description: "Accounts: one's own, and for superusers everybody's." },
    { name: "operation", description: "For whoever runs this." },
  ],
  components: {
    securitySchemes: {
      signIn: {
        type: "oauth2",
        description: "Signs in with e-mail address or username, and password.",
        flows: { password: { tokenUrl: "/api/v1/auth/login", scopes: {} } },
      },
      bearer: {
        type: "http",
        scheme: "bearer",
        bearerFormat: "JWT",
        description: "An access token from POST /api/v1/auth/login.",
      },
    },
  },
} as const;

/** `/openapi.json` and `/docs`, by @elysiajs/swagger; what it answers is put right on its way out. */
export const openapiPlugin = (options: { formPaths: string[] }) => {
  let known: Document | undefined;
  const document = (raw: Document) => {
    known ??= corrected(raw, options);
    return known;
  };
  return new Elysia({ name: "openapi" })
    .onAfterHandle(({ path, responseValue }) => {
      if (path.startsWith("/openapi.json")) return document(responseValue as Document);
      // The plugin's page is a static response, which Elysia hands to this hook uncalled.
      return localPage((responseValue as () => Response)());
    })
    .use(
      swagger({
        provider: "swagger-ui",
        path: "/docs",
        specPath: "/openapi.json",
        theme: "/docs/assets/swagger-ui.css",
        autoDarkMode: false,
        excludeStaticFile: false,
        documentation: documentation as never,
        swaggerOptions: { persistAuthorization: true, deepLinking: true },
      }),
    );
};

export const openapiAssets = new Elysia({ name: "openapi-assets" }).get(
  "/docs/assets/:name",
  ({ params }) => {
    const asset = assets.get(params.name);
    if (!asset) throw new Problem("not_found");
    return new Response(Bun.file(asset.file), {
      headers: { "content-type": asset.type, "cache-control": "public, max-age=3600" },
    });
  },
  { detail: { hide: true } },
);

const CDN = /<script src="https:[^"]*swagger-ui-bundle\.js" crossorigin><\/script>/;

async function localPage(page: Response): Promise<Response> {
  const html = (await page.text()).replace(
    CDN,
    '<script src="/docs/assets/swagger-ui-bundle.js"></script>',
  );
  const [, inline = ""] = /<script>([\s\S]*?)<\/script>/.exec(html) ?? [];
  const hash = new Bun.CryptoHasher("sha256").update(inline).digest("base64");
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": `default-src 'none'; script-src 'self' 'sha256-${hash}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'`,
    },
  });
}
