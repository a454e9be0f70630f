export interface Metric {
  type: "counter" | "gauge" | "histogram";
  /** One sentence, for Prometheus and for docs/metrics.md. */
  help: string;
  /** Each label with its values, in Markdown. */
  labels?: Record<string, string>;
  /** The upper bounds of a histogram's buckets, in seconds. */
  buckets?: number[];
  /**
   * How to aggregate the values of several processes (WORKERS). The default is the sum. Set it if
   * all processes read the same value, or if a sum has no meaning.
   */
  aggregator?: "max" | "min";
}

/**
 * Every metric, named by the conventions of Prometheus. Each label has few values, and clients can
 * add none, so the number of series is bounded.
 */
export const metricList = {
  http_request_duration_seconds: {
    type: "histogram",
    help: "Duration of HTTP requests.",
    labels: {
      method: "the HTTP method, or `_OTHER`",
      route: "the pattern of the route, such as `/api/v1/users/:id`; empty if no route matched",
      status: "the status code",
    },
    // The buckets of OpenTelemetry's semantic conventions for http.server.request.duration.
    buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  },
  http_requests_in_flight: { type: "gauge", help: "HTTP requests in flight." },
  bunker_problems_total: {
    type: "counter",
    help: "Responses that report a problem, by problem code.",
    labels: { code: "a code of `/problems`" },
  },
  bunker_sign_in_attempts_total: {
    type: "counter",
    help: "Sign-in attempts, by method and result.",
    labels: { method: "`password`, `email`", result: "`success`, or the problem code" },
  },
  bunker_rate_limited_requests_total: {
    type: "counter",
    help: "Requests refused with 429, by the rate limit that they exceeded.",
    labels: { limit: "a name of [limits.md](limits.md)" },
  },
  bunker_password_hashes_running: {
    type: "gauge",
    help: "Passwords that are being hashed or verified.",
  },
  bunker_password_hashes_queued: {
    type: "gauge",
    help: "Passwords that wait to be hashed or verified.",
  },
  bunker_password_hashes_total: {
    type: "counter",
    help: "Passwords that were hashed or verified, or refused with 503 `busy` because the queue was full or the wait too long.",
    labels: { result: "`completed`, `refused`" },
  },
  bunker_principal_cache_entries: {
    type: "gauge",
    help: "Principals (user and session behind an access token) in the cache of this process.",
  },
  bunker_principal_cache_lookups_total: {
    type: "counter",
    help: "Lookups of a principal, from the cache (hit) or from the database (miss).",
    labels: { result: "`hit`, `miss`" },
  },
  bunker_database_connections: {
    type: "gauge",
    help: "Connections of this process to the database, by state.",
    labels: { state: "`idle`, `active`, `connecting`" },
  },
  bunker_database_statements_queued: {
    type: "gauge",
    help: "Statements that wait for a connection, or behind another statement on one.",
  },
  bunker_database_size_bytes: {
    type: "gauge",
    help: "Size of the database on disk.",
    aggregator: "max",
  },
  bunker_ready: {
    type: "gauge",
    help: "Whether a check of `/readyz` passes: 1 yes, 0 no.",
    labels: { check: "`database`, `migrations`, `disk`" },
    aggregator: "min",
  },
  bunker_embedded_database_restarts_total: {
    type: "counter",
    help: "Restarts of the embedded PostgreSQL after it exited unexpectedly.",
  },
  bunker_data_dir_free_bytes: {
    type: "gauge",
    help: "Free space on the disk of `DATA_DIR`, with the embedded PostgreSQL.",
    aggregator: "min",
  },
  bunker_redis_up: {
    type: "gauge",
    help: "Whether Redis is available, if `REDIS_URL` is set: 1 yes, 0 no.",
    aggregator: "min",
  },
  bunker_events_unsettled_seconds: {
    type: "gauge",
    help: "How long the oldest committed event has waited to be published, because an older transaction is open on the database server.",
    aggregator: "max",
  },
  bunker_streams_open: {
    type: "gauge",
    help: "Open streams of events of this process.",
    labels: { kind: "`sse`, `websocket`" },
  },
  bunker_streams_ended_total: {
    type: "counter",
    help: "Streams of events that ended, by reason.",
    labels: {
      reason:
        "`canceled` by the client; `refused`: invalid messages; `token_expired`; `session_ended`; `forbidden`; `cursor_expired`; `slow_reader`; `restarting`; `failed`: the database could not be read",
    },
  },
  bunker_mails_queued: {
    type: "gauge",
    help: "Mails in the outbox that wait to be sent.",
    aggregator: "max",
  },
  bunker_mail_deliveries_total: {
    type: "counter",
    help: "Attempts to deliver a mail, by result.",
    labels: {
      result:
        "`sent`; `deferred`: the mail server asks for a retry (4xx); `rejected`: for good (5xx); `unavailable`: the mail server cannot be used; `dropped`: not tried, because the link expired or the key is gone",
    },
  },
  bunker_event_sink_lag_seconds: {
    type: "gauge",
    help: "How long the next event has waited for a sink; 0 if the sink has all.",
    labels: {
      sink: "`broker`: the message queue of `BROKER_URL`; `webhooks`: the slowest webhook",
    },
    aggregator: "max",
  },
  bunker_broker_messages_total: {
    type: "counter",
    help: "Events sent to the message queue, by result.",
    labels: {
      result:
        "`published`; `unroutable`: RabbitMQ dropped it, because no queue is bound for its type; `failed`: not confirmed, so it is sent again",
    },
  },
  bunker_webhooks: {
    type: "gauge",
    help: "Webhooks, by state.",
    labels: {
      state:
        "`working`; `failing`: an event failed five times, with no success since; `disabled` by Bunker, because it failed for 3 days or is gone; `off`: disabled by a superuser",
    },
    aggregator: "max",
  },
  bunker_webhook_deliveries_waiting: {
    type: "gauge",
    help: "Events that wait to be sent to webhooks, counted for each webhook.",
    aggregator: "max",
  },
  bunker_webhook_deliveries_total: {
    type: "counter",
    help: "Attempts to deliver an event to a webhook, by result.",
    labels: {
      result:
        "`delivered`; `deferred`: it failed and is retried; `failed`: for 3 days, so it is given up; `dropped`: not tried, because the event is no longer stored",
    },
  },
  bunker_job_duration_seconds: {
    type: "histogram",
    help: "Duration of the runs of background jobs.",
    // Not `job`: Prometheus itself sets a label of that name.
    labels: { job_name: "the name of the job", result: "`success`, `failure`" },
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60],
  },
  bunker_build_info: {
    type: "gauge",
    help: "The version of Bunker, with the value 1.",
    labels: { version: "as in `bunker --version`" },
    aggregator: "max",
  },
  // The default metrics of prom-client that are correct under Bun.
  process_cpu_user_seconds_total: { type: "counter", help: "User CPU time." },
  process_cpu_system_seconds_total: { type: "counter", help: "System CPU time." },
  process_cpu_seconds_total: { type: "counter", help: "User and system CPU time." },
  process_resident_memory_bytes: { type: "gauge", help: "Resident memory." },
  process_open_fds: { type: "gauge", help: "Open file descriptors." },
  process_max_fds: { type: "gauge", help: "Maximum number of open file descriptors." },
  process_start_time_seconds: {
    type: "gauge",
    help: "Start of the process, in Unix time.",
    aggregator: "max",
  },
  nodejs_eventloop_lag_seconds: {
    type: "gauge",
    help: "Lag of the event loop at the scrape.",
    aggregator: "max",
  },
  nodejs_eventloop_lag_p99_seconds: {
    type: "gauge",
    help: "The 99th percentile of the lag of the event loop.",
    aggregator: "max",
  },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof metricList;
