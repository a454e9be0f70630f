import { type AnyElysia, Elysia } from "elysia";
import styles from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import { version } from "../kit/build.ts";
import { Problem } from "../kit/problem.ts";
import { corrected, type Document } from "./openapi-correction.ts";
import { headerComponents } from "./openapi-headers.ts";
import { namedByTitle } from "./openapi-names.ts";
import { problemView } from "./problems.ts";

/** The page's script and style come with us: the page works with the network cut, and runs nobody else's code. */
const assets = new Map([
  ["swagger-ui-bundle.js", { file: bundle, type: "text/javascript; charset=utf-8" }],
  ["swagger-ui.css", { file: styles, type: "text/css; charset=utf-8" }],
]);

const documentation = () => ({
  info: {
    title: "Bunker",
    version,
    description: "Accounts and sign-in for your product: register, sign in, and manage users.",
    license: { name: "MIT", identifier: "MIT" },
  },
  servers: [{ url: "/", description: "This server" }],
  tags: [
    { name: "auth", description: "Register and sign in." },
    { name: "oauth", description: "For clients that speak OAuth 2." },
    { name: "sessions", description: "Where one is signed in." },
    { name: "events", description: "What happened." },
    { name: "users", description: "Accounts: one's own, and for superusers everybody's." },
    { name: "operation", description: "For whoever runs this." },
  ],
  components: {
    schemas: { Problem: problemView() },
    ...headerComponents(),
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
});

interface Documented {
  document: Document;
  page: Response;
}

/**
 * `/openapi.json` and `/docs`, by @elysiajs/swagger; what it answers is put right on its way out. The plugin is loaded when
 * somebody asks: a start does not need it. It describes the `rooms`, in an app that serves nobody.
 */
export const openapiRoutes = (options: { formPaths: string[]; rooms: () => AnyElysia }) => {
  let known: Promise<Documented> | undefined;
  const documented = () => {
    known ??= describe(options);
    return known;
  };
  return new Elysia({ name: "openapi" })
    .get("/openapi.json", async (): Promise<object> => (await documented()).document, {
      detail: { hide: true },
    })
    .get("/docs", async () => (await documented()).page.clone(), { detail: { hide: true } });
};

async function describe(options: Parameters<typeof openapiRoutes>[0]): Promise<Documented> {
  const { swagger } = await import("@elysiajs/swagger");
  const app = new Elysia({ normalize: false }).use(options.rooms()).use(
    swagger({
      provider: "swagger-ui",
      path: "/docs",
      specPath: "/openapi.json",
      theme: "/docs/assets/swagger-ui.css",
      autoDarkMode: false,
      excludeStaticFile: false,
      documentation: documentation() as never,
      // Not `persistAuthorization`: it would keep the password and the tokens in the browser's storage.
      swaggerOptions: { deepLinking: true },
    }),
  );
  const get = (path: string) => app.handle(new Request(`http://localhost${path}`));
  const raw = (await (await get("/openapi.json")).json()) as Document;
  return {
    document: namedByTitle(corrected(raw, options)),
    page: await localPage(await get("/docs")),
  };
}

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
