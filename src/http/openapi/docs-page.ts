import { Elysia } from "elysia";
import styles from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import { Problem } from "../../kit/problem.ts";
import script from "./docs.browser.js" with { type: "file" };

const SCRIPT_TYPE = "text/javascript; charset=utf-8";
/** Served by Bunker: the page works offline, and runs no code of other sites. */
const assets = new Map([
  ["swagger-ui-bundle.js", { file: bundle, type: SCRIPT_TYPE }],
  ["docs.js", { file: script, type: SCRIPT_TYPE }],
  ["swagger-ui.css", { file: styles, type: "text/css; charset=utf-8" }],
]);

/** The styles hide the fields of an OAuth client, and errors that are shown twice. */
const page = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Bunker</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<style>
body { margin: 0 }
.swagger-ui .auth-container .wrapper:has(> label:is([for="password_type"], [for^="client_id"], [for^="client_secret"])) { display: none }
.swagger-ui .errors-wrapper { display: none }
</style>
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/docs.js"></script>
</body>
</html>
`;
/** The page and Swagger UI have inline styles. No script is inline. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

export const docsPage = new Elysia({ name: "docs-page" })
  .get(
    "/docs",
    () =>
      new Response(page, {
        headers: { "content-type": "text/html; charset=utf-8", "content-security-policy": policy },
      }),
    { detail: { hide: true } },
  )
  .get(
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
