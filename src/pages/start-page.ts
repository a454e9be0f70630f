import type { Ctx } from "../ctx.ts";
import { isCompiled, version } from "../kit/build.ts";
import { escaped } from "../kit/html.ts";
import { hasSuperuser } from "../modules/users/first-superuser.ts";
import { notice } from "./forms.ts";
import { openUserPages, page, pageHeaders } from "./page.ts";
import { openProductLink } from "./product-link.ts";
import { textsFor } from "./texts.ts";

/** The page at `/`: in development for developers, in production for users of the product. */
export function openStartPage(ctx: Ctx): (acceptLanguage?: string) => Promise<Response> | Response {
  const userPage = openUserPages(ctx.config);
  const productLink = openProductLink(ctx.config);
  if (ctx.config.environment === "development") return () => developerPage(ctx);
  return (acceptLanguage) => {
    const texts = textsFor(null, acceptLanguage);
    const { brandName } = ctx.config;
    const text = texts.home.text.replace("{brand}", () => brandName);
    const body = notice(brandName, text) + productLink(texts);
    return userPage({ lang: texts.lang, title: texts.home.title, body });
  };
}

async function developerPage(ctx: Ctx): Promise<Response> {
  const command = await firstSuperuserCommand(ctx);
  const links = [
    `<a href="/docs">API documentation</a>: every endpoint, to try in the browser`,
    ...(ctx.mail?.isMailbox
      ? [`<a href="/dev/mailbox">Mailbox</a>: the mails of this server`]
      : []),
    `<a href="/openapi.json">OpenAPI document</a>`,
    `<a href="/readyz">Readiness</a>: the state of the database, the disk and mail`,
  ];
  const superuser = command === undefined ? "<p>There is a superuser.</p>" : "";
  const body = `<h1>Bunker is running</h1>
<p>Accounts and sign-in for your product. Version ${escaped(version)}, in development.</p>
<ul>${links.map((link) => `<li>${link}</li>`).join("")}</ul>
${step("Create the first superuser", command)}${superuser}${step("Register a user", firstRequest(ctx.config))}`;
  return new Response(page("Bunker", body), { headers: pageHeaders });
}

const step = (title: string, command: string | undefined) =>
  command === undefined ? "" : `<h2>${title}</h2><pre><code>${escaped(command)}</code></pre>`;

export const ownCommand = isCompiled ? process.argv0 : "npx -y bun@1.4.5 run start";

/** Undefined if there is a superuser, or the database is unavailable. */
export async function firstSuperuserCommand(ctx: Ctx): Promise<string | undefined> {
  const isMade = await hasSuperuser(ctx).catch(() => true);
  return isMade ? undefined : `${ownCommand} users create you@example.com --superuser`;
}

/** A first request to try, or undefined if registration is closed. */
export function firstRequest({ publicUrl, registration }: Ctx["config"]): string | undefined {
  const example = JSON.stringify({ email: "you@example.com", password: "a long pass phrase" });
  return registration === "open"
    ? `curl ${publicUrl}/api/v1/auth/register -H 'content-type: application/json' -d '${example}'`
    : undefined;
}
