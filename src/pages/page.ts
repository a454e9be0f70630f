const style = `:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#57606a}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--soft:#9198a1}}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,sans-serif}
main{max-width:38rem;margin:12vh auto;padding:0 1.5rem}
h1{font-size:1.6rem;line-height:1.25;margin:.25rem 0 1rem}
input,button{font:inherit;padding:.6rem .8rem;border-radius:.5rem;border:1px solid var(--soft);background:var(--paper);color:var(--ink)}
input{width:100%;box-sizing:border-box;margin-top:.35rem}button{background:var(--ink);color:var(--paper);border-color:var(--ink);cursor:pointer}
button.quiet{background:none;color:var(--ink);border-color:var(--soft)}
ul{padding-left:1.1rem}li{margin:.5rem 0}pre{white-space:pre-wrap;overflow-wrap:anywhere}
.code,footer{color:var(--soft)}code{font-family:ui-monospace,monospace}a{color:inherit}`;

/** Lets exactly our own style in, and nothing else from anywhere. */
const styleHash = new Bun.CryptoHasher("sha256").update(style).digest("base64");

export const pageHeaders = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": `default-src 'none'; img-src 'self'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
};

/** Browsers ask for one wherever they are. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1b1f24"/><path d="M6 23v-6a10 10 0 0 1 20 0v6h-5v-5h-10v5z" fill="#fff"/></svg>`;

export const escaped = (text: string) =>
  text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** A page of ours around `body`, which is HTML already; `title` is text. */
export const page = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title><style>${style}</style></head>
<body><main>${body}<footer><p>Bunker · <a href="/docs">API documentation</a></p></footer></main></body>
</html>
`;
