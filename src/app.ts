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
import { openapiRoutes } from "./http/openapi/document.ts";
import { problemPlugin } from "./http/problems.ts";
import { requestPlugin } from "./http/request.ts";
import { routeTable } from "./http/route-table.ts";
import {
  emailSignInRoutes,
  ownAddressRoutes,
  recoveryRoutes,
  verificationRoutes,
} from "./modules/auth/mail-routes.ts";
import { authRoutes, continuationRoutes } from "./modules/auth/routes.ts";
import { myEventRoutes } from "./modules/events/routes.ts";
import { keyRoutes } from "./modules/keys/routes.ts";
import { metadataRoutes, oauthRoutes } from "./modules/oauth/routes.ts";
import { ownAccountRoutes } from "./modules/passwords/routes.ts";
import { sessionRoutes } from "./modules/sessions/routes.ts";
import { meRoutes, userByIdRoutes, userRoutes, userSupportRoutes } from "./modules/users/routes.ts";
import { addressLinkRoutes, entryLinkRoutes, forgotRoutes, LINK_PATHS } from "./pages/links.ts";
import { mailboxRoutes, pageRoutes } from "./pages/routes.ts";

/** Paths that take the forms of OAuth. The sign-in is one: it takes OAuth2's password form. */
const oauthPaths = ["/api/v1/auth/login", ...OAUTH_PATHS];
/**
 * Paths that take forms: those, and the ones to which our own pages send forms. All others take
 * JSON only.
 */
const formPaths = [...oauthPaths, ...LINK_PATHS];

/** What there is to call, and the shape of every refusal. */
const rooms = (ctx: Ctx) =>
  new Elysia({ normalize: false })
    .use(healthRoutes(ctx))
    .use(metricsRoutes(ctx))
    .use(clientRoutes(ctx))
    .use(pageRoutes(ctx))
    .use(mailboxRoutes(ctx))
    .use(addressLinkRoutes(ctx))
    .use(entryLinkRoutes(ctx))
    .use(forgotRoutes(ctx))
    .use(oauthRoutes(ctx))
    .use(metadataRoutes(ctx))
    .use(keyRoutes(ctx))
    .group("/api/v1", (v1) =>
      v1
        .use(authRoutes(ctx))
        .use(continuationRoutes(ctx))
        .use(verificationRoutes(ctx))
        .use(recoveryRoutes(ctx))
        .use(emailSignInRoutes(ctx))
        .use(meRoutes(ctx))
        .use(ownAccountRoutes(ctx))
        .use(ownAddressRoutes(ctx))
        .use(sessionRoutes(ctx))
        .use(myEventRoutes(ctx))
        .use(userRoutes(ctx))
        .use(userByIdRoutes(ctx))
        .use(userSupportRoutes(ctx)),
    );

/** The whole service as one Elysia app. Builds without I/O. */
export const createApp = (ctx: Ctx) => {
  const routes = routeTable();
  // `standardHostname: false`: with a short Host header, Elysia would look for the path in the wrong place of the URL.
  // `normalize: false`: it would drop unknown fields in silence, where we refuse them aloud.
  const app = new Elysia({ handler: { standardHostname: false }, normalize: false })
    .use(requestPlugin(ctx))
    .use(problemPlugin(ctx, routes))
    .use(bodyReader({ formPaths, oauthPaths, isCrossSite: openCrossSiteCheck(ctx.config) }))
    .use(bearer())
    .use(openapiRoutes({ formPaths, rooms: () => rooms(ctx) }))
    .use(docsPage)
    .use(rooms(ctx));
  routes.learn(app.routes);
  return app;
};

/**
 * For Eden. src/build/declarations.ts writes it to `/client/bunker.d.ts`, where clients download
 * it.
 */
export type App = ReturnType<typeof createApp>;
