/** Tables and inline styles, because mail clients support little else (docs/guides/brand.md). */
export const defaultTemplate = `<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{subject}</title>
</head>
<body style="margin:0;padding:0">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif">
<tr><td align="center" style="padding:32px 16px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width:520px;text-align:left">
<tr><td style="padding-bottom:24px;font-size:18px;font-weight:600">{head}</td></tr>
<tr><td>
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">{subject}</h1>
{content}
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
`;
