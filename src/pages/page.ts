import type { Config } from "../config/config.ts";
import { textColorOn } from "../kit/color.ts";
import { sha256 } from "../kit/digest.ts";
import { escaped } from "../kit/html.ts";

const style = `:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#57606a}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--soft:#9198a1}}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,sans-serif}
header,main,footer{max-width:38rem;margin:0 auto;padding:0 1.5rem}
header{margin-top:8vh;font-weight:600}header img{display:block}main{margin-top:2rem}body>main:first-child{margin-top:12vh}
h1{font-size:1.6rem;line-height:1.25;text-wrap:balance;margin:.25rem 0 1rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
input,button{font:inherit;padding:.6rem .8rem;border-radius:.5rem;border:1px solid var(--soft);background:var(--paper);color:var(--ink)}
input{width:100%;box-sizing:border-box;margin-top:.35rem}button{cursor:pointer}
ul{padding-left:1.1rem}li{margin:.5rem 0}pre{white-space:pre-wrap;overflow-wrap:anywhere}
.code,footer{color:var(--soft)}code{font-family:ui-monospace,monospace}a{color:inherit}`;

/** Allows exactly one style, images from the given sources, and nothing else. */
const headersFor = (allowed: { style: string; pictures: string }) => ({
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": `default-src 'none'; img-src ${allowed.pictures}; style-src 'sha256-${sha256(allowed.style).toString("base64")}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
  // With no-referrer, forms have the origin `null`, and http/cross-site would refuse our own.
  // `strict-origin` sends no path, so no link token leaks.
  "referrer-policy": "strict-origin",
});

/** `title` is text; the other members are HTML. */
interface Content {
  lang: string;
  title: string;
  style: string;
  body: string;
}

const documentOf = (content: Content): string => `<!doctype html>
<html lang="${content.lang}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(content.title)}</title><style>${content.style}</style></head>
<body>${content.body}</body>
</html>
`;

export const pageHeaders = headersFor({ style, pictures: "'self'" });

/** The favicon, which browsers request on every site. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1b1f24"/><path d="M6 23v-6a10 10 0 0 1 20 0v6h-5v-5h-10v5z" fill="#fff"/></svg>`;

/** A page for developers. `title` is text, `body` is HTML. */
export const page = (title: string, body: string): string =>
  documentOf({
    lang: "en",
    title,
    style,
    body: `<main>${body}</main><footer><p>Bunker · <a href="/docs">API documentation</a></p></footer>`,
  });

/** Returns a function that renders pages for users, with the name and color of the product. */
export function openUserPages({ brandName, brandColor, brandLogo }: Config) {
  const branded = `${style}
main button:not(.quiet){background:${brandColor};color:${textColorOn(brandColor)};font-weight:600}`;
  const pictures = brandLogo ? `'self' ${new URL(brandLogo).origin}` : "'self'";
  const headers = headersFor({ style: branded, pictures });
  const name = escaped(brandName);
  const head = brandLogo ? `<img src="${escaped(brandLogo)}" alt="${name}" height="36">` : name;
  return (content: Omit<Content, "style">, status = 200): Response =>
    new Response(
      documentOf({
        lang: content.lang,
        title: `${content.title} · ${brandName}`,
        style: branded,
        body: `<header>${head}</header><main>${content.body}</main>`,
      }),
      { status, headers },
    );
}
