import { isatty } from "node:tty";
import { SECRET_MIN_BYTES } from "../credentials/secret.ts";
import { type LogFormat, type LogLevel, logFormats, logLevels } from "../kit/log.ts";
import { receivers } from "../kit/webhook-url.ts";
import { brokerUrl, redisUrl } from "./service-urls.ts";
import {
  bearerToken,
  collectorUrl,
  fraction,
  headers,
  integer,
  oneOf,
  onOff,
  optional,
  setting,
  text,
} from "./setting.ts";

export const operationSettings = {
  eventsRetentionDays: setting({
    name: "EVENTS_RETENTION_DAYS",
    doc: "How many days events about users, OAuth clients and keys are kept. Older events are deleted. A sign-in is compared with the kept events to notify a user of a new device.",
    parse: integer(1, 36_500),
    fallback: () => 400,
  }),
  webhooksAllow: setting<string[]>({
    name: "WEBHOOKS_ALLOW",
    doc: "Receivers of webhooks on this machine or in a private network, such as `product.internal:8080, [fd00::7]:443`. Webhooks may go to exactly these hosts and ports, by `http` or `https`. Any other receiver must have `https` and a public IP.",
    shown: "none",
    parse: receivers,
    fallback: () => [],
  }),
  webhooksAllowPrivate: setting({
    name: "WEBHOOKS_ALLOW_PRIVATE",
    doc: "`true`: webhooks may go to every host by `http`, also to private IPs. A user who may create webhooks can then send requests into your network. For development and tests only.",
    parse: (value) => oneOf(["true", "false"])(value) === "true",
    fallback: () => false,
  }),
  streamsPerUser: setting({
    name: "STREAMS_PER_USER",
    doc: "How many streams of events (SSE and WebSocket) one user may have open at a time on one process.",
    parse: integer(1, 20_000),
    fallback: () => 20,
  }),
  workers: setting({
    name: "WORKERS",
    doc: "How many worker processes share PORT, each as one instance. Use one for each core that password hashing and the database do not need. The workers share their metrics and the embedded database. Linux only.",
    parse: integer(1, 64),
    fallback: () => 1,
  }),
  shutdownDelaySeconds: setting({
    name: "SHUTDOWN_DELAY_SECONDS",
    doc: "How many seconds the server keeps serving after SIGTERM, while /readyz and /readyz/server return 503. With several instances behind a proxy, set it to more than the proxy's health checks need to notice.",
    parse: integer(0, 300),
    fallback: () => 0,
  }),
  redisUrl: optional({
    name: "REDIS_URL",
    doc: "A Redis or Valkey server that several instances share, for rate limits and slow counts: `redis://:password@host:6379/0` or `rediss://…`. Without it, and while it is unavailable, the database does this.",
    isSecret: true,
    parse: redisUrl,
  }),
  brokerUrl: optional({
    name: "BROKER_URL",
    doc: "A message queue that gets every event: RabbitMQ by `amqp://user:password@host:5672/vhost` (`amqps://…` for TLS), or NATS with JetStream by `nats://user:password@host:4222` (`tls://…`). While it is unavailable, events wait in the database. See docs/guides/rabbitmq.md and docs/guides/nats.md.",
    isSecret: true,
    parse: brokerUrl,
  }),
  metricsHost: setting({
    name: "METRICS_HOST",
    doc: "The IP to listen on for METRICS_PORT. On a loopback IP, the Host header must be a local name, such as localhost. On any other IP, every client that can reach the port can read the metrics.",
    parse: text,
    fallback: () => "127.0.0.1",
  }),
  metricsPort: optional({
    name: "METRICS_PORT",
    doc: "A separate port that serves only /metrics for Prometheus. It requires no token.",
    parse: integer(1, 65_535),
  }),
  metricsToken: optional({
    name: "METRICS_TOKEN",
    doc: `Serves /metrics on PORT too, for requests that send this bearer token: at least ${SECRET_MIN_BYTES} random bytes.`,
    isSecret: true,
    parse: bearerToken,
  }),
  logLevel: setting<LogLevel>({
    name: "LOG_LEVEL",
    mayBeInFile: true,
    doc: `The minimum level of log lines: \`${logLevels.join("`, `")}\`.`,
    parse: oneOf(logLevels),
    fallback: () => "info",
  }),
  logFormat: setting<LogFormat>({
    name: "LOG_FORMAT",
    doc: "`json`: one JSON object a line, for programs. `pretty`: for people.",
    shown: "pretty on a terminal, else json",
    parse: oneOf(logFormats),
    fallback: () => (isatty(2) ? "pretty" : "json"),
  }),
  logAccess: onOff({
    name: "LOG_ACCESS",
    doc: "`on`: one line for each response, with route, status, duration, request ID, trace ID and user ID, but no IP and no path. Successful probes are not logged.",
    fallback: "on",
  }),
  otlpUrl: optional({
    name: "OTLP_URL",
    doc: "The OTLP/HTTP endpoint for traces: an OpenTelemetry collector, Tempo or Jaeger, such as `http://127.0.0.1:4318`. Bunker adds `/v1/traces`.",
    parse: collectorUrl,
  }),
  otlpHeaders: setting<Record<string, string>>({
    name: "OTLP_HEADERS",
    doc: "Headers to send to OTLP_URL, such as `authorization=Basic%20YTpi`. Separate them with commas and percent-encode the values.",
    shown: "none",
    isSecret: true,
    parse: headers,
    fallback: () => ({}),
  }),
  traceSample: setting({
    name: "TRACE_SAMPLE",
    doc: "The fraction of requests to trace, from 0 to 1. A request with a `traceparent` header is traced if the header says so.",
    parse: fraction,
    fallback: () => 0.1,
  }),
};
