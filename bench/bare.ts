/** The least that a compiled server can be: what its cold start costs, any program pays. */
Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env["PORT"]),
  development: false,
  fetch: () => Response.json({ status: "ok" }),
});
