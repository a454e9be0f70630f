/** Failures of background jobs. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { client, emptyFolder, freePort, serve } from "../support/program.ts";

setDefaultTimeout(60_000);
const home = process.env["E2E_DATABASE_URL"];
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const name = `bunker_e2e_jobs_${process.pid}`;
afterAll(async () => {
  await admin?.unsafe(`drop database if exists ${name} with (force)`);
  await admin?.end();
});

describe.if(home !== undefined)("on a server", () => {
  test("a failing job is logged once, counted each time and retried, and the server keeps running", async () => {
    await admin?.unsafe(`create database ${name}`);
    const url = Object.assign(new URL(home ?? ""), { pathname: `/${name}` }).href;
    const METRICS_PORT = String(await freePort());
    const server = await serve({
      cwd: emptyFolder(),
      env: {
        DATABASE_URL: url,
        METRICS_PORT,
        SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        PUBLIC_URL: "https://accounts.example.com",
        MAIL_URL: "smtp://127.0.0.1:9",
      },
    });
    const failures = async () => {
      const metricsText = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text();
      const of = (result: string) =>
        Number(
          new RegExp(`_count\\{job_name="deliver mails",result="${result}"\\} (\\d+)`).exec(
            metricsText,
          )?.[1],
        );
      return { failure: of("failure"), success: of("success") };
    };
    const sql = connect({ url, caFile: undefined }, { max: 1 });
    while (!((await failures()).success > 0)) await sleep(50);
    expect((await failures()).failure).toBe(0);
    await sql`alter table mails rename to letters`;
    while ((await failures()).failure < 3) await sleep(50);
    const lines = server.said.err.split("\n").filter((line) => line.includes("Job failed"));
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "error",
      job: "deliver mails",
      err: { code: "42P01" },
    });
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    await sql`alter table letters rename to mails`;
    await sql.end();
    const { failure, success } = await failures();
    while ((await failures()).success < success + 2) await sleep(50);
    expect((await failures()).failure).toBeLessThanOrEqual(failure + 1);
    expect(
      (await client(server.url).register("ada@example.com", "a long pass phrase")).status,
    ).toBe(201);
    expect(await server.end("SIGTERM")).toBe(0);
  });
});
