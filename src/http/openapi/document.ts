import { type AnyElysia, Elysia } from "elysia";
import { version } from "../../kit/build.ts";
import { findDeclarations } from "../client-files.ts";
import { problemView } from "../problems.ts";
import { corrected, type Document } from "./corrections.ts";
import { headerComponents } from "./headers.ts";
import { namedByTitle } from "./names.ts";
import { webhookOperations } from "./webhooks.ts";

/** The member of the document that names the hash of `/client/bunker.d.ts`. */
export const CLIENT_TYPES = "x-client-types-sha256";

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
    { name: "oauth", description: "Standard endpoints for OAuth 2.0 clients." },
    { name: "sessions", description: "Your sessions." },
    { name: "events", description: "What happened: to your user, and to all for superusers." },
    { name: "webhooks", description: "Events that are sent to your own servers." },
    { name: "users", description: "Your user, and all users for superusers." },
    { name: "operation", description: "Health and version, for the operator." },
  ],
  components: {
    schemas: { Problem: problemView() },
    ...headerComponents(),
    securitySchemes: {
      signIn: {
        type: "oauth2",
        description: "Signs in with email or username, and password.",
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

interface Options {
  formPaths: string[];
  modules: () => AnyElysia;
}

/**
 * Serves `/openapi.json`: what @elysiajs/swagger writes for the given modules, corrected. The
 * plugin is loaded at the first request, so that it does not slow down the start.
 */
export const openapiRoutes = (options: Options) => {
  let cached: Promise<object> | undefined;
  const documented = () => {
    cached ??= describe(options);
    return cached;
  };
  return new Elysia({ name: "openapi" }).get("/openapi.json", documented, {
    detail: { hide: true },
  });
};

export async function describe(options: Options): Promise<object> {
  const { swagger } = await import("@elysiajs/swagger");
  const app = new Elysia({ normalize: false }).use(options.modules()).use(
    swagger({
      path: "/docs",
      specPath: "/openapi.json",
      excludeStaticFile: false,
      documentation: documentation() as never,
    }),
  );
  const raw = await app.handle(new Request("http://localhost/openapi.json"));
  const written = namedByTitle(corrected((await raw.json()) as Document, options));
  const document = { ...written, webhooks: webhookOperations() };
  const types = await findDeclarations();
  // Shows clients that keep a copy of the types whether it is current.
  return types ? { ...document, [CLIENT_TYPES]: types.sha256 } : document;
}
