import { describe, expect, test } from "bun:test";
import { networkInterfaces, userInfo } from "node:os";
import { readConfig } from "../src/config/config.ts";
import { describePostgresUrl, readPostgresUrl } from "../src/config/postgres-url.ts";
import { connect } from "../src/db/db.ts";
import { Exit } from "../src/kit/exit.ts";
import { type Answer, fakeServer } from "./support/fake-postgres.ts";
import { needs } from "./support/needs.ts";

const read = (url: string) => {
  const { endpoint, user, password, database } = readPostgresUrl(url);
  const place =
    "socketPath" in endpoint ? endpoint.socketPath : `${endpoint.host} ${endpoint.port}`;
  return [user, password, place, database].join(" | ");
};
const refusal = (url: string): string => {
  try {
    readPostgresUrl(url);
    return "accepted";
  } catch (error) {
    return (error as Error).message;
  }
};

describe("a database URL", () => {
  test.each([
    ["postgres://u:p@h:6432/d", "u | p | h 6432 | d"],
    ["postgresql://u:p@h", "u | p | h 5432 | u"],
    ["postgres://u@h/", "u |  | h 5432 | u"],
    ["postgres://h/d", `${userInfo().username} |  | h 5432 | d`],
    ["postgres://u:p@[::1]:5433/d", "u | p | ::1 5433 | d"],
    ["postgres://u:p@[2001:db8::7]/d", "u | p | 2001:db8::7 5432 | d"],
    ["postgres://u:p@%3A%3A1/d", "u | p | ::1 5432 | d"],
    ["postgres://a%40b:p%2F%23%3A%40@h%2De/d%2Fe", "a@b | p/#:@ | h-e 5432 | d/e"],
    ["postgres://b:4242#secret@h/d", "b | 4242#secret | h 5432 | d"],
    ["postgres://b:se?cret@h/d", "b | se?cret | h 5432 | d"],
    ["postgres://b:a:b+c@h/d", "b | a:b+c | h 5432 | d"],
    ["postgres://h/d?user=u&password=p%26q", "u | p&q | h 5432 | d"],
    ["postgres://u:p@h/d?dbname=other&port=7", "u | p | h 7 | other"],
    ["postgres:///d?host=/run/pg&user=u", "u |  | /run/pg/.s.PGSQL.5432 | d"],
    ["postgres://u:p@/d?host=/cloudsql/a:b:c", "u | p | /cloudsql/a:b:c/.s.PGSQL.5432 | d"],
    [
      "postgres://u:p@localhost/d?host=/cloudsql/a:b:c",
      "u | p | /cloudsql/a:b:c/.s.PGSQL.5432 | d",
    ],
    ["postgres://u:p@%2Fcloudsql%2Fa%3Ab%3Ac/d", "u | p | /cloudsql/a:b:c/.s.PGSQL.5432 | d"],
    ["postgres://u:p@%2Frun:5433/d", "u | p | /run/.s.PGSQL.5433 | d"],
    [
      "postgres://u:p@/d?unix_sock=/cloudsql/a:b:c/.s.PGSQL.5432",
      "u | p | /cloudsql/a:b:c/.s.PGSQL.5432 | d",
    ],
  ])("%s", (url, expected) => expect(read(url)).toBe(expected));

  test.each([
    ["postgres://b:p@ss/w%rd@localhost/a", "not percent-encoded"],
    ["postgres://b:se/cret@localhost/a", "not percent-encoded"],
    ["postgres://b:42/cret@localhost/a", "not percent-encoded"],
    ["postgres://b:4242@sentinel#secret@h/a", "not percent-encoded"],
    ["postgres://b:p@h/a?x=@", "not percent-encoded"],
    ["postgres://b:100%@h/a", "% is %25"],
    ["postgres://b:p@h/a#sentinel", "# is %23"],
    ["postgres://sentinel:sentinel", "a port that is not a number"],
    ["postgres://u@h:0/a", "a port that is not a number"],
    ["postgres://u@h:65536/a", "a port that is not a number"],
    ["postgres:///a", "has no host"],
    ["postgres://u:p@::1/a", "IPv6 address in []"],
    ["postgres://user%3Asentinel%40h:5432/a", "a host that is not valid"],
    ["postgres://u%7Csentinel%7Ch/a", "a host that is not valid"],
    ["postgres://u:p@/a?host=h%3Bsentinel", "a host that is not valid"],
    ["postgres://u:p@[0:5432:sentinel]/a", "a host that is not valid"],
    ["postgres://u:p@one,two/a", "several hosts"],
    ["postgres://u:p@one:1,two:2/a", "several hosts"],
    ["postgres://u:p@h/a?host=one,two", "several hosts"],
    ["postgres://u:p%00@h/a", "control character"],
    ["postgres://u:p@h/a?sslmode=sentinel", "sslmode"],
    ["postgres://u:p@h/a?sslmod=require", "misspelled sslmode"],
    ["postgres://u:p@h/a?sslrootcert=system&sslmode=require", "sslrootcert=system"],
    ["postgres://u:p@h/a?sslnegotiation=direct", "sslnegotiation=direct"],
    ["postgres://u:p@h/a?gssencmode=require", "gssencmode"],
    ["postgres://u:p@h/a?target_session_attrs=standby", "target_session_attrs"],
    ["mysql://u:sentinel@h/a", "must be a URL"],
    ["sentinel", "must be a URL"],
  ])("%s is refused, and the message shows nothing of it", (url, expected) => {
    const message = refusal(url);
    expect(message).toContain(expected);
    expect(message).not.toMatch(/sentinel|cret|ss\/w|4242/);
  });

  test("is described without user and password", () => {
    expect(describePostgresUrl("postgres://b:4242#secret@[::1]:6/d")).toBe("[::1]:6/d");
    expect(describePostgresUrl("postgres://b:p@%2Frun/d")).toBe("/run/.s.PGSQL.5432 (database d)");
    for (const path of ["d&password=p", "d;password=p", "d%3Fpassword=p", "d password=p"])
      expect(describePostgresUrl(`postgres://h/${path}`)).toBe("h:5432/…");
  });

  test("reads sslmode as libpq does", () => {
    const mode = (query: string) => readPostgresUrl(`postgres://u@h/d?${query}`).tls.mode;
    expect(mode("")).toBe("prefer");
    for (const one of ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
      expect(mode(`sslmode=${one}`)).toBe(one as ReturnType<typeof mode>);
    expect(mode("ssl=true")).toBe("require");
    expect(mode("sslrootcert=system")).toBe("verify-full");
    expect(mode("sslmode=require&sslrootcert=/ca.pem")).toBe("verify-ca");
  });

  test("may have the parameters that providers print: they are applied, or ignored with a warning", () => {
    const ignored = (query: string) => readPostgresUrl(`postgres://u@h/d?${query}`).ignored;
    for (const query of [
      "sslmode=require&connect_timeout=10&application_name=a&target_session_attrs=read-write",
      "gssencmode=disable&channel_binding=prefer&keepalives=1&keepalives_idle=30&options=-c%20a%3Db",
      "target_session_attrs=any&sslcert=/a&sslkey=/b&schema=public&pgbouncer=true",
    ])
      expect([query, ignored(query)]).toEqual([query, []]);
    expect(ignored("channel_binding=require&keepalives_count=3&schema=other&sentinel=1")).toEqual([
      "channel_binding",
      "keepalives_count",
      "schema",
      "parameters that Bunker does not know",
    ]);
    expect(ignored("connect_timeout=0")).toEqual(["connect_timeout (it must be from 1 to 60)"]);
    const DATABASE_URL = "postgres://u@h/d?channel_binding=require";
    expect(readConfig({ DATABASE_URL }).warnings).toEqual([
      "DATABASE_URL: Bunker ignores channel_binding",
    ]);
  });

  test("that leads to a pooler requires a direct URL", () => {
    const DATABASE_URL = "postgres://u@h/d?pgbouncer=true";
    expect(() => readConfig({ DATABASE_URL })).toThrow(
      "pgbouncer=true in DATABASE_URL requires DATABASE_DIRECT_URL",
    );
    const DATABASE_DIRECT_URL = "postgres://u@h/d";
    expect(readConfig({ DATABASE_URL, DATABASE_DIRECT_URL }).warnings).toEqual([]);
  });

  test("names files that must exist", () => {
    const DATABASE_URL = "postgres://u@h/d?sslrootcert=/none&sslmode=verify-full&sslcert=/none";
    const reading = () => readConfig({ DATABASE_URL });
    expect(reading).toThrow(Exit);
    expect(reading).toThrow("sslrootcert that names a file that cannot be read (ENOENT)");
    expect(reading).toThrow("set both");
  });
});

describe("a session", () => {
  const startup = async (query: string, isPooled = false): Promise<Record<string, string>> => {
    const seen: Record<string, string>[] = [];
    const answer: Answer = { onStartup: (parameters) => void seen.push(parameters) };
    const server = await fakeServer(answer);
    const url = `postgres://u%40x:p@127.0.0.1:${server.port}/d?sslmode=disable&${query}`;
    const sql = connect({ url, caFile: undefined, isPooled }, { max: 1 });
    await sql`select 1`.simple();
    await sql.end();
    await server.close();
    return seen[0] ?? {};
  };

  test("gets those parameters of the URL that belong to the server, and no others", async () => {
    const given = await startup(
      "application_name=crm&options=-c%20work_mem%3D8MB&schema=x&channel_binding=require&supa=y&connection_limit=3&keepalives_count=3",
    );
    expect(given).toMatchObject({
      user: "u@x",
      database: "d",
      application_name: "crm",
      options: "-c work_mem=8MB",
    });
    for (const name of ["schema", "channel_binding", "supa", "connection_limit", "password"])
      expect(given).not.toHaveProperty(name);
  });

  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === "::1"),
  );
  needs("an IPv6 loopback", hasIpv6).test(
    "begins at an IPv6 address, and nowhere else",
    async () => {
      const seen: string[] = [];
      const onStartup = (parameters: Record<string, string>) =>
        void seen.push(parameters["database"] ?? "");
      const server = await fakeServer({ onStartup }, "::1");
      const ask = async (place: string) => {
        const url = `postgres://u:p@${place}sslmode=disable`;
        const sql = connect({ url, caFile: undefined }, { max: 1, connect_timeout: 1 });
        await sql`select 1`.simple().catch(() => {});
        await sql.end({ timeout: 0 });
      };
      await ask(`[::1]:${server.port}/one?`);
      await ask(`127.0.0.1:${server.port}/two?`);
      await ask(`[::2]:${server.port}/three?`);
      await ask(`/four?host=::1&port=${server.port}&`);
      await server.close();
      expect(seen).toEqual(["one", "four"]);
    },
  );

  test("through a pooler gets no options, except those by which a provider chooses the database", async () => {
    expect(await startup("options=-c%20work_mem%3D8MB", true)).not.toHaveProperty("options");
    expect(await startup("options=endpoint%3Dx", true)).toMatchObject({ options: "endpoint=x" });
  });

  test("is not changed by PG* variables", async () => {
    const names = ["PGAPPNAME", "PGDATABASE", "PGPREPARE", "PGTARGETSESSIONATTRS", "PGSSL"];
    for (const name of names) process.env[name] = "standby";
    try {
      expect(await startup("")).toMatchObject({ application_name: "bunker", database: "d" });
    } finally {
      for (const name of names) delete process.env[name];
    }
  });
});
