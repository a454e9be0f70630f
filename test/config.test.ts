import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../src/config/config.ts";
import { Exit } from "../src/kit/exit.ts";

const SECRET = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const refusal = (env: Record<string, string>): string => {
  try {
    readConfig(env);
    return "accepted";
  } catch (error) {
    if (!(error instanceof Exit) || error.status !== 78) throw error;
    return error.message;
  }
};

describe("the configuration", () => {
  test("needs no settings", () => {
    const { config, origins, warnings } = readConfig({});
    expect(config).toMatchObject({ environment: "development", host: "127.0.0.1", port: 3000 });
    expect(new Set(Object.values(origins))).toEqual(new Set(["default"]));
    expect(warnings).toEqual([]);
  });

  test("reports all errors in one message, and prints no value", () => {
    const message = refusal({
      PORT: "sentinel",
      PUBLIC_URL: "sentinel",
      DATABASE_URL: "mysql://sentinel",
      SECRET_KEY: "sentinel",
      ALGORITHM: "none-sentinel",
      ACCESS_TOKEN_EXPIRE_MINUTES: "1441",
      REGISTRATION: "sentinel",
      DATABASE_CA_FILE: "/sentinel",
      PASSWORD_MIN_LENGTH: "7",
    });
    for (const name of [
      "PORT",
      "PUBLIC_URL",
      "DATABASE_URL",
      "SECRET_KEY",
      "ALGORITHM",
      "ACCESS_TOKEN_EXPIRE_MINUTES",
      "REGISTRATION",
      "DATABASE_CA_FILE",
      "PASSWORD_MIN_LENGTH",
    ])
      expect(message).toContain(`- ${name} `);
    expect(message).not.toContain("sentinel");
  });

  test("refuses a first superuser without email or password, or with a weak password", () => {
    expect(refusal({ FIRST_SUPERUSER_EMAIL: "ada@example.com" })).toContain(
      "FIRST_SUPERUSER_EMAIL requires",
    );
    expect(refusal({ FIRST_SUPERUSER_PASSWORD: "a long pass phrase" })).toContain(
      "FIRST_SUPERUSER_PASSWORD requires",
    );
    expect(
      refusal({ FIRST_SUPERUSER_EMAIL: "ada@example.com", FIRST_SUPERUSER_PASSWORD: "password" }),
    ).toContain("FIRST_SUPERUSER_PASSWORD is among the most common");
  });

  test("reports errors in a mail server's URL, a part of which may be the password", () => {
    for (const MAIL_URL of [
      "smtp://user:p@ss/w@mail.example.com:587",
      "smtp://user:12/abc@mail.example.com",
      "smtp://user:se/cret+x@mail.example.com:587",
      "smtp://user:se#cret@mail.example.com",
      "smtp://user:%zz@mail.example.com",
      "smtp://user%3Asentinel%40mail.example.com:587",
    ])
      expect([MAIL_URL, refusal({ MAIL_URL })]).toEqual([
        MAIL_URL,
        expect.stringMatching(/MAIL_URL has a user or password .* not percent-encoded/),
      ]);
    for (const MAIL_URL of [
      "smtp://user:p%40ss%2Fw@mail.example.com:587",
      "smtps://mail.example.com/",
    ])
      expect(refusal({ MAIL_URL })).toBe("accepted");
  });

  test("accepts redirect URLs of a product as they are, and a color in its short form", () => {
    const { config } = readConfig({
      VERIFY_EMAIL_REDIRECT_URL: "https://app.example.com/?lang=de#/verify",
      BRAND_COLOR: "#fc0",
    });
    expect([config.verifyEmailUrl, config.brandColor]).toEqual([
      "https://app.example.com/?lang=de#/verify",
      "#ffcc00",
    ]);
    expect(refusal({ SIGN_IN_REDIRECT_URL: "javascript:alert(1)" })).toContain("SIGN_IN_REDIRECT");
  });

  test("accepts an origin as PUBLIC_URL, and no path", () => {
    for (const [value, origin] of [
      ["https://Accounts.example.com/", "https://accounts.example.com"],
      ["https://accounts.example.com:443?", "https://accounts.example.com"],
      ["http://localhost:8080", "http://localhost:8080"],
    ] as const)
      expect(readConfig({ PUBLIC_URL: value }).config.publicUrl).toBe(origin);
    for (const value of [
      "https://example.com/accounts",
      "https://example.com/?a=b",
      "https://example.com/#a",
      "https://u:p@example.com",
      "ftp://example.com",
      "example.com",
      "http://example.com:0",
    ])
      expect([value, refusal({ PUBLIC_URL: value })]).toEqual([
        value,
        expect.stringContaining("PUBLIC_URL must be an origin"),
      ]);
  });

  test("accepts the earlier name of a limit, with a warning", () => {
    const { config, warnings } = readConfig({ LIMITS: "requests-stranger=7/60" });
    expect(config.limits["requests-anonymous"]).toEqual({ quota: 7, refill: 7, periodSeconds: 60 });
    expect(warnings).toEqual(["LIMITS: requests-stranger was renamed to requests-anonymous"]);
  });

  test("reads a secret from a file, but refuses two sources", () => {
    const folder = mkdtempSync(join(tmpdir(), "bunker-config-"));
    const file = join(folder, "key");
    try {
      writeFileSync(file, `${SECRET}\n`);
      const { config, origins } = readConfig({ SECRET_KEY_FILE: file });
      expect([config.secretKey, origins.secretKey]).toEqual([SECRET, "SECRET_KEY_FILE"]);
      expect(refusal({ SECRET_KEY_FILE: file, SECRET_KEY: SECRET })).toContain(
        "SECRET_KEY is set twice",
      );
      expect(refusal({ SECRET_KEY_FILE: join(folder, "none") })).toContain(
        "SECRET_KEY_FILE cannot be read (ENOENT)",
      );
      writeFileSync(file, "");
      expect(refusal({ SECRET_KEY_FILE: file })).toContain("SECRET_KEY_FILE is empty");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("reads files written on Windows, and refuses invisible blanks", () => {
    const folder = mkdtempSync(join(tmpdir(), "bunker-config-"));
    const file = join(folder, "key");
    const superuser = { FIRST_SUPERUSER_EMAIL: "ada@example.com\r" };
    const read = (text: string | Buffer) => {
      writeFileSync(file, text);
      return readConfig({ ...superuser, FIRST_SUPERUSER_PASSWORD_FILE: file }).config;
    };
    try {
      const { config, origins } = readConfig({
        PORT: "4000\r",
        BRAND_NAME: " Ada \r",
        MAIL_URL: "\r",
        SECRET_KEY: `${SECRET}\r`,
      });
      expect(config).toMatchObject({ port: 4000, brandName: "Ada", secretKey: SECRET });
      expect(origins.mailUrl).toBe("default");
      expect(read("\uFEFFa long pass phrase\r\n")).toMatchObject({
        firstSuperuserEmail: "ada@example.com",
        firstSuperuserPassword: "a long pass phrase",
      });
      for (const text of [
        "a long pass phrase ",
        "a long pass phrase\n\n",
        "\ta long pass phrase",
      ]) {
        expect(() => read(text)).toThrow(/PASSWORD_FILE begins or ends with a space/);
        expect(refusal({ ...superuser, FIRST_SUPERUSER_PASSWORD: text })).toContain(
          "FIRST_SUPERUSER_PASSWORD begins or ends with a space",
        );
      }
      expect(() => read(Buffer.from("\uFEFFa long pass phrase", "utf16le"))).toThrow("not UTF-8");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("ignores the end of a URL if it has no meaning", () => {
    for (const end of ["", "/", "?", "/?", "#"])
      expect(
        readConfig({
          PUBLIC_URL: `https://a.example${end}`,
          OTLP_URL: `https://b.example/otlp${end}`,
        }).config,
      ).toMatchObject({ publicUrl: "https://a.example", otlpUrl: "https://b.example/otlp" });
  });

  test("refuses a path that only a shell would expand", () => {
    for (const DATA_DIR of ["~", "~/data", "$HOME/data", "/srv/$NAME", "%h/data"])
      expect([DATA_DIR, refusal({ DATA_DIR })]).toEqual([
        DATA_DIR,
        expect.stringContaining("write the full path"),
      ]);
    expect(refusal({ DATA_DIR: "./~/data" })).toBe("accepted");
    expect(refusal({ MAIL_TEMPLATES: "~/templates" })).toContain("not expanded here");
    expect(refusal({ SECRET_KEY_FILE: "$HOME/key" })).toContain("not expanded here");
  });

  test("treats an empty variable as unset, and warns about misspelled names", () => {
    const { config, warnings } = readConfig({
      PORT: "",
      DATABASE_ULR: "x",
      BUNKER_MODE: "x",
      HOME: "/",
    });
    expect(config.port).toBe(3000);
    expect(warnings).toEqual([
      "DATABASE_ULR is not a setting: did you mean DATABASE_URL?",
      "BUNKER_MODE is not a setting",
    ]);
  });

  test("refuses a hash cost beyond what a sign-in verifies", () => {
    expect(refusal({ PASSWORD_HASH: "m=131072,t=8" })).toBe("accepted");
    for (const value of ["m=131073,t=2", "m=262144,t=2", "m=131072,t=9"])
      expect(refusal({ PASSWORD_HASH: value })).toContain("PASSWORD_HASH");
  });

  test("refuses wrong settings of metrics, traces and Redis, and prints no value", () => {
    const token = "3ac1f0c4b9d94e6f8a7b5c2d1e0f9a8b7c6d5e4f3a2b1c0d";
    for (const [env, words] of [
      [{ METRICS_PORT: "many" }, "METRICS_PORT"],
      [{ METRICS_PORT: "4000", PORT: "4000" }, "METRICS_PORT must differ from PORT"],
      [{ METRICS_TOKEN: "sentinel" }, "METRICS_TOKEN needs"],
      [{ METRICS_TOKEN: `${token} ${token}` }, "METRICS_TOKEN must be ASCII"],
      [{ METRICS_TOKEN: `${token}é` }, "METRICS_TOKEN must be ASCII"],
      [{ METRICS_HOST: "127.0.0.1" }, "METRICS_HOST requires METRICS_PORT"],
      [
        { CLIENT_ADDRESS_HEADER: "Fly-Client-IP" },
        "CLIENT_ADDRESS_HEADER requires TRUSTED_PROXIES",
      ],
      [{ OTLP_HEADERS: "authorization=sentinel" }, "OTLP_HEADERS requires OTLP_URL"],
      [{ REDIS_URL: "redis://127.0.0.1:0" }, "REDIS_URL must be"],
    ] as const) {
      expect(refusal(env)).toContain(words);
      expect(refusal(env)).not.toContain("sentinel");
    }
  });

  test.each([
    ["OTLP_URL", "localhost:4318"],
    ["OTLP_URL", "grpc://localhost:4317"],
    ["TRACE_SAMPLE", "10%"],
    ["OTLP_HEADERS", "authorization"],
    ["OTLP_HEADERS", "authorization=%E2%82%AC"],
  ])("refuses a wrong %s for traces, and does not print it", (name, value) => {
    const message = refusal({ OTLP_URL: "http://localhost:4318", [name]: value });
    expect(message).toContain(`${name} must `);
    expect(message).not.toContain(value);
  });

  test("refuses a certificate authority that would have no effect", () => {
    const DATABASE_CA_FILE = "/etc/hostname";
    expect(refusal({ DATABASE_CA_FILE })).toContain("DATABASE_CA_FILE has no effect");
    const DATABASE_URL = "postgres://localhost/a?sslmode=verify-full";
    expect(refusal({ DATABASE_CA_FILE, DATABASE_URL })).toBe("accepted");
  });

  test("accepts a database URL only if it is unambiguous", () => {
    for (const url of [
      "postgres://pw:p@ss/w%rd@localhost/a",
      "postgres://pw:100%@localhost/a",
      "postgres:///a",
      "postgres://a:b@localhost/a?x=@",
    ])
      expect([url, refusal({ DATABASE_URL: url })]).toEqual([
        url,
        expect.stringContaining("DATABASE_URL"),
      ]);
    for (const url of [
      "postgres://pw:p%40ss@localhost/a",
      "postgres:///a?host=/var/run/postgresql",
    ])
      expect(refusal({ DATABASE_URL: url })).toBe("accepted");
  });

  test("reports a misspelled name together with what is missing", () => {
    const env = {
      BUNKER_ENV: "production",
      DATABASE_URL: "postgres://localhost/a",
      SECERT_KEY: SECRET,
    };
    expect(refusal(env)).toContain("did you mean SECRET_KEY?");
  });

  test("accepts exactly the sslmodes that exist", () => {
    for (const mode of ["disable", "prefer", "require", "verify-ca", "verify-full"])
      expect(refusal({ DATABASE_URL: `postgres://localhost/a?sslmode=${mode}` })).toBe("accepted");
    expect(refusal({ DATABASE_URL: "postgres://localhost/a?sslmode=verify" })).toContain("sslmode");
  });
});
