/** The files of `deploy/`: each is valid for its program, and sets only settings that exist. */
import { expect, test } from "bun:test";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readConfig } from "../src/config/config.ts";
import { BODY_MAX_BYTES } from "../src/http/body.ts";
import { METHODS } from "../src/http/observers.ts";
import { problems } from "../src/kit/problem-codes.ts";
import { IDLE_SECONDS } from "../src/server/listen.ts";
import { needs } from "./support/needs.ts";
import { emptyFolder } from "./support/program.ts";
import { pathOf, proxies } from "./support/proxies.ts";

const textOf = (file: string) => readFileSync(join(import.meta.dir, "../deploy", file), "utf8");
/** Secrets, which each platform stores outside of its file. */
const secrets = {
  DATABASE_URL: "postgres://bunker:secret@db.internal:5432/bunker",
  SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
};

/** The warnings of a server with these settings. */
const warningsOf = (env: Record<string, string>) =>
  readConfig({ BUNKER_ENV: "production", ...secrets, ...env }).warnings;

interface Named {
  name?: string;
  key?: string;
  value?: string;
}
const settingsOf = (list: Named[]): Record<string, string> =>
  Object.fromEntries(
    list.flatMap(({ name, key, value }) => (value === undefined ? [] : [[name ?? key, value]])),
  );

test("Kubernetes: two copies, probes, and a budget for disruptions", () => {
  const [deployment, service, budget] = Bun.YAML.parse(textOf("kubernetes.yaml")) as [
    // biome-ignore lint/suspicious/noExplicitAny: a test reads the members that it expects
    ...any[],
  ];
  expect([deployment.kind, service.kind, budget.kind]).toEqual([
    "Deployment",
    "Service",
    "PodDisruptionBudget",
  ]);
  const { spec } = deployment.spec.template;
  const [container] = spec.containers;
  expect(deployment.spec.replicas).toBe(2);
  expect(container.readinessProbe.httpGet.path).toBe("/readyz/server");
  expect(container.livenessProbe.httpGet.path).toBe("/livez");
  expect(budget.spec.minAvailable).toBe(1);
  for (const selector of [
    deployment.spec.selector.matchLabels,
    service.spec.selector,
    budget.spec.selector.matchLabels,
  ])
    expect(deployment.spec.template.metadata.labels).toMatchObject(selector);
  const env = settingsOf(container.env);
  expect(warningsOf(env)).toEqual([]);
  expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(
    25 + Number(env["SHUTDOWN_DELAY_SECONDS"]),
  );
});

test("Fly.io", () => {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const it = Bun.TOML.parse(textOf("fly.toml")) as any;
  expect(it.http_service.internal_port).toBe(3000);
  expect(it.http_service.checks[0].path).toBe("/readyz/server");
  expect(warningsOf(it.env)).toEqual([]);
});

test("Render", () => {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const { services, databases } = Bun.YAML.parse(textOf("render.yaml")) as any;
  const [web] = services;
  expect(web.healthCheckPath).toBe("/readyz/server");
  expect(warningsOf(settingsOf(web.envVars))).toEqual([]);
  const [url] = web.envVars.filter(({ key }: Named) => key === "DATABASE_URL");
  expect(url.fromDatabase.name).toBe(databases[0].name);
});

test("Compose: optional services are profiles, ports are published on loopback, and the file has no secret", () => {
  const text = readFileSync(join(import.meta.dir, "../docker-compose.yml"), "utf8");
  const { services } = Bun.YAML.parse(text) as {
    services: Record<string, { profiles?: string[]; ports?: string[] }>;
  };
  const profiles = Object.entries(services).map(([name, service]) => [name, service.profiles?.[0]]);
  expect(Object.fromEntries(profiles)).toEqual({
    api: undefined,
    postgres: undefined,
    redis: "redis",
    rabbitmq: "rabbitmq",
    nats: "nats",
    prometheus: "monitoring",
    grafana: "monitoring",
  });
  const published = Object.values(services).flatMap(({ ports = [] }) => ports);
  for (const port of published)
    expect(port).toMatch(/^(127\.0\.0\.1:|\$\{PUBLISH\w*:-127\.0\.0\.1:)/);
  expect(text).not.toMatch(/(PASSWORD|SECRET_KEY|TOKEN): +"?[^"$\s]/);
});

test("Compose for development publishes only on loopback and keeps no data", () => {
  const { services, volumes } = Bun.YAML.parse(textOf("docker-compose.development.yml")) as {
    services: Record<string, { ports: string[]; volumes?: string[] }>;
    volumes?: object;
  };
  expect(Object.keys(services)).toEqual(["postgres", "redis"]);
  for (const { ports, volumes: own } of Object.values(services)) {
    expect(own).toBeUndefined();
    for (const port of ports) expect(port).toStartWith("127.0.0.1:");
  }
  expect(volumes).toBeUndefined();
});

const proxyFiles = ["nginx/bunker.conf", "caddy/Caddyfile", "haproxy/haproxy.cfg"];

test("each proxy refuses unknown methods with Bunker's own problem", () => {
  for (const file of proxyFiles) {
    const text = textOf(file);
    expect(text).toContain(`Allow "${METHODS.join(", ")}"`);
    const lists = [METHODS.join("|"), METHODS.join(" ")];
    expect(lists.filter((list) => text.includes(list))).toHaveLength(1);
  }
});

test("error responses of the proxies are Bunker's problems", () => {
  for (const file of proxyFiles) {
    const bodies = [...textOf(file).matchAll(/\{"type":.*?"\}/g)].map(([body]) => JSON.parse(body));
    expect(bodies.length).toBeGreaterThan(0);
    for (const { type, request_id, ...rest } of bodies) {
      const code = rest.code as keyof typeof problems;
      const { title, status, detail } = problems[code];
      expect(type).toBe(`/problems/${code}`);
      expect(rest).toEqual({ title, status, detail, code });
      expect(request_id).toMatch(/uuid|unique-id|request_id/);
    }
  }
});

test("proxies accept bodies as large as Bunker does", () => {
  expect(textOf("nginx/bunker.conf")).toContain(`client_max_body_size ${BODY_MAX_BYTES / 1024}k;`);
  expect(textOf("haproxy/haproxy.cfg")).toContain(`{ req.body_size gt ${BODY_MAX_BYTES} }`);
});

test("nginx never removes an instance; Caddy and HAProxy check /readyz/server", () => {
  const servers = textOf("nginx/bunker.conf").match(/^ *server \d.*$/gm) ?? [];
  expect(servers.length).toBeGreaterThan(0);
  for (const server of servers) expect(server).toEndWith(" max_fails=0;");
  for (const file of ["caddy/Caddyfile", "haproxy/haproxy.cfg"])
    expect(textOf(file)).toMatch(/(health_uri|httpchk GET) \/readyz\/server$/m);
});

const check: Record<string, (args: string[]) => string[]> = {
  caddy: ([, ...rest]) => ["validate", ...rest],
  nginx: (args) => ["-t", ...args],
  haproxy: (args) => ["-c", ...args],
};
for (const [name, argumentsOf] of Object.entries(proxies))
  needs(name, pathOf(name) !== undefined).test(`${name} accepts its file`, () => {
    const args = check[name]?.(argumentsOf({ outside: 1, inside: [2, 3] })) ?? [];
    const { exitCode } = Bun.spawnSync([pathOf(name) ?? "", ...args], {
      env: { ...process.env, HOME: emptyFolder() },
    });
    expect(exitCode).toBe(0);
  });

test("proxies close idle connections before Bunker does, so that no request is lost", () => {
  for (const [file, kept] of [
    ["nginx/bunker.conf", /^\s*keepalive_timeout (\d+)s;$/m],
    ["caddy/Caddyfile", /^\s*keepalive (\d+)s$/m],
  ] as const)
    expect(Number(kept.exec(textOf(file))?.[1])).toBeLessThan(IDLE_SECONDS);
});

needs("prometheus", Bun.which("promtool") !== null).test(
  "each alert fires for its cause, and not below its threshold",
  () => {
    const folder = emptyFolder();
    cpSync(join(import.meta.dir, "../deploy/prometheus"), folder, { recursive: true });
    cpSync(join(import.meta.dir, "support/alerts.yml"), join(folder, "alerts.yml"));
    const tested = Bun.spawnSync(["promtool", "test", "rules", "alerts.yml"], { cwd: folder });
    expect(`${tested.stdout}${tested.stderr}`).toContain("SUCCESS");
    expect(tested.exitCode).toBe(0);
    const rules = textOf("prometheus/bunker.rules.yml");
    const alerts = [...rules.matchAll(/alert: (\w+)/g)].map(([, alert = ""]) => alert);
    const cases = readFileSync(join(folder, "alerts.yml"), "utf8");
    expect(alerts.filter((alert) => !cases.includes(alert))).toEqual([]);
  },
);
