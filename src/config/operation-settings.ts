import { isatty } from "node:tty";
import { SECRET_MIN_BYTES } from "../credentials/secret.ts";
import { type LogFormat, type LogLevel, logFormats, logLevels } from "../kit/log.ts";
import { redisUrl } from "./service-urls.ts";
import {
  bearerToken,
  collectorUrl,
  fraction,
  headers,
  integer,
  oneOf,
  setting,
  text,
} from "./setting.ts";

/** The settings for operation and monitoring. Part of `settings`. */
export const operationSettings = {
  eventsRetentionDays: setting({
    name: "EVENTS_RETENTION_DAYS",
    doc: "How many days events are kept: what happened to users, clients and keys. Older ones are deleted. A sign-in is compared with those that are kept, to tell a user of a new device.",
    parse: integer(1, 36_500),
    fallback: () => 400,
  }),
  workers: setting({
    name: "WORKERS",
    doc: "How many processes serve together on PORT, each as one instance: one for each core that sign-ins and the database leave. Their figures and their embedded database are one. Linux only.",
    parse: integer(1, 64),
    fallback: () => 1,
  }),
  shutdownDelaySeconds: setting({
    name: "SHUTDOWN_DELAY_SECONDS",
    doc: "How long the server goes on serving when it is asked to end (SIGTERM), while /readyz and /readyz/server already say 503: with a proxy before several instances, longer than its health checks take to notice.",
    parse: integer(0, 300),
    fallback: () => 0,
  }),
  redisUrl: setting<string | undefined>({
    name: "REDIS_URL",
    doc: "A Redis or Valkey server that several instances share, `redis://:password@host:6379/0` or `rediss://…`: for rate limits and slow counts. Without it, and while it is unavailable, the database does this.",
    shown: "none",
    isSecret: true,
    parse: redisUrl,
    fallback: () => undefined,
  }),
  metricsHost: setting({
    name: "METRICS_HOST",
    doc: "The address to listen on for METRICS_PORT. On a loopback address, the Host header must be a local name, such as localhost. On any other address, every client that can reach the port can read the metrics.",
    parse: text,
    fallback: () => "127.0.0.1",
  }),
  metricsPort: setting<number | undefined>({
    name: "METRICS_PORT",
    doc: "Another port, with /metrics for Prometheus and nothing else, which asks for no token.",
    shown: "none",
    parse: integer(1, 65_535),
    fallback: () => undefined,
  }),
  metricsToken: setting<string | undefined>({
    name: "METRICS_TOKEN",
    doc: `Puts /metrics at the side of the API, for whoever sends this as a bearer token: at least ${SECRET_MIN_BYTES} random bytes.`,
    shown: "none",
    isSecret: true,
    parse: bearerToken,
    fallback: () => undefined,
  }),
  logLevel: setting<LogLevel>({
    name: "LOG_LEVEL",
    mayBeInFile: true,
    doc: `The least important lines to log: \`${logLevels.join("`, `")}\`.`,
    parse: oneOf(logLevels),
    fallback: () => "info",
  }),
  logFormat: setting<LogFormat>({
    name: "LOG_FORMAT",
    doc: "`json`: a line of JSON each, for programs; `pretty`: for eyes.",
    shown: "pretty on a terminal, else json",
    parse: oneOf(logFormats),
    fallback: () => (isatty(2) ? "pretty" : "json"),
  }),
  logAccess: setting({
    name: "LOG_ACCESS",
    doc: "`on`: a line for each answer, with route, status, duration, request id, trace id and account id; no address, no path. Probes that go well are left out.",
    parse: oneOf(["on", "off"]),
    fallback: () => "on",
  }),
  otlpUrl: setting<string | undefined>({
    name: "OTLP_URL",
    doc: "Where traces go, by OTLP over HTTP: an OpenTelemetry collector, Tempo, Jaeger, such as `http://127.0.0.1:4318`; `/v1/traces` is added.",
    shown: "none",
    parse: collectorUrl,
    fallback: () => undefined,
  }),
  otlpHeaders: setting<Record<string, string>>({
    name: "OTLP_HEADERS",
    doc: "Headers to send there, such as `authorization=Basic%20YTpi`: with commas between, values percent-encoded.",
    shown: "none",
    isSecret: true,
    parse: headers,
    fallback: () => ({}),
  }),
  traceSample: setting({
    name: "TRACE_SAMPLE",
    doc: "What part of the requests is traced, from 0 to 1; one that comes with a `traceparent` is where that says so.",
    parse: fraction,
    fallback: () => 0.1,
  }),
};
