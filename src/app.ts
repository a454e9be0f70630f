import { bearer } from "@elysiajs/bearer";
import { Elysia } from "elysia";
import type { Ctx } from "./ctx.ts";
import { bodyReader } from "./http/body.ts";
import { clientRoutes } from "./http/client-files.ts";
import { openCrossSiteCheck } from "./http/cross-site.ts";
import { healthRoutes } from "./http/health.ts";
import { metricsRoutes } from "./http/metrics.ts";
import { OAUTH_PATHS } from "./http/oauth-errors.ts";
import { docsPage } from "./http/openapi/docs-page.ts";
import { describe, openapiRoutes } from "./http/openapi/document.ts";
import { problemPlugin } from "./http/problems.ts";
import { requestPlugin } from "./http/request.ts";
import { routeTable } from "./http/route-table.ts";
import { authRoutes, continuationRoutes } from "./modules/auth/routes.ts";
import { emailSignInRoutes, recoveryRoutes, verificationRoutes } from "./modules/emails/routes.ts";
import { eventRoutes } from "./modules/events/routes.ts";
import { keyRoutes } from "./modules/keys/routes.ts";
import {
  meRoutes,
  myEventRoutes,
  ownAccountRoutes,
  ownEmailRoutes,
  sessionRoutes,
} from "./modules/me/routes.ts";
import { metadataRoutes, oauthRoutes } from "./modules/oauth/routes.ts";
import { registrationRoutes } from "./modules/registration/routes.ts";
import { ownStreamRoutes, streamRoutes } from "./modules/streams/routes.ts";
import { userByIdRoutes, userRoutes, userSupportRoutes } from "./modules/users/routes.ts";
import { webhookActionRoutes, webhookRoutes } from "./modules/webhooks/routes.ts";
import { emailLinkRoutes, entryLinkRoutes, forgotRoutes, LINK_PATHS } from "./pages/links.ts";
import { mailboxRoutes, pageRoutes } from "./pages/routes.ts";
import { productRoutes } from "./product/routes.ts";

/** The whole server as one Elysia app. Does no I/O. */
export const createApp = (ctx: Ctx) => {
  const routes = routeTable();
  // Without `standardHostname: false`, Elysia finds a wrong path if the Host header is short.
  // Without `normalize: false`, it silently drops unknown fields, which Bunker refuses.
  const app = new Elysia({ handler: { standardHostname: false }, normalize: false })
    .use(requestPlugin(ctx))
    .use(problemPlugin(ctx, routes))
    .use(bodyReader({ formPaths, oauthPaths, isCrossSite: openCrossSiteCheck(ctx.config) }))
    .use(bearer())
    .use(openapiRoutes({ formPaths, modules: () => allRoutes(ctx, emptyApp()) }))
    .use(docsPage)
    // A function: Elysia would prepare each route of a nested app twice, for 5 ms of the start.
    .use((parent: Elysia) => allRoutes(ctx, parent));
  routes.setRoutes(app.routes);
  return app;
};

/** For Eden: src/build/declarations.ts writes it to `/client/bunker.d.ts`. */
export type App = ReturnType<typeof createApp>;

/** Paths that accept OAuth forms. Login accepts the form of the password grant. */
const oauthPaths = ["/api/v1/auth/login", ...OAUTH_PATHS];

/** Paths that accept forms: those of OAuth, and our own pages. */
const formPaths = [...oauthPaths, ...LINK_PATHS];

const emptyApp = () => new Elysia({ normalize: false });

const allRoutes = (ctx: Ctx, app: Elysia) => bunkerRoutes(ctx, app).use(productRoutes(ctx));

/** Adds all routes of Bunker except the OpenAPI document and its page. */
const bunkerRoutes = (ctx: Ctx, app: Elysia) =>
  app
    .use(healthRoutes(ctx))
    .use(metricsRoutes(ctx))
    .use(clientRoutes(ctx))
    .use(pageRoutes(ctx))
    .use(mailboxRoutes(ctx))
    .use(emailLinkRoutes(ctx))
    .use(entryLinkRoutes(ctx))
    .use(forgotRoutes(ctx))
    .use(oauthRoutes(ctx))
    .use(metadataRoutes(ctx))
    .use(keyRoutes(ctx))
    .group("/api/v1", (v1) =>
      v1
        .use(registrationRoutes(ctx))
        .use(authRoutes(ctx))
        .use(continuationRoutes(ctx))
        .use(verificationRoutes(ctx))
        .use(recoveryRoutes(ctx))
        .use(emailSignInRoutes(ctx))
        .use(meRoutes(ctx))
        .use(ownAccountRoutes(ctx))
        .use(ownEmailRoutes(ctx))
        .use(sessionRoutes(ctx))
        .use(myEventRoutes(ctx))
        .use(ownStreamRoutes(ctx))
        .use(streamRoutes(ctx))
        .use(eventRoutes(ctx))
        .use(userRoutes(ctx))
        .use(userByIdRoutes(ctx))
        .use(userSupportRoutes(ctx))
        .use(webhookRoutes(ctx))
        .use(webhookActionRoutes(ctx)),
    );

/** The OpenAPI document of Bunker without the routes of the product, for docs/openapi.json. */
export const describeBunker = (ctx: Ctx) =>
  describe({ formPaths, modules: () => bunkerRoutes(ctx, emptyApp()) });
