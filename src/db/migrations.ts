// Written by `bun run db:generate`.
import sql0000 from "../../drizzle/0000_users.sql" with { type: "text" };
import sql0001 from "../../drizzle/0001_updated_at.sql" with { type: "text" };
import sql0002 from "../../drizzle/0002_sessions.sql" with { type: "text" };
import sql0003 from "../../drizzle/0003_principal_changes.sql" with { type: "text" };
import sql0004 from "../../drizzle/0004_limits.sql" with { type: "text" };
import sql0005 from "../../drizzle/0005_signing_keys.sql" with { type: "text" };
import sql0006 from "../../drizzle/0006_clients.sql" with { type: "text" };
import sql0007 from "../../drizzle/0007_versions.sql" with { type: "text" };
import sql0008 from "../../drizzle/0008_idempotency.sql" with { type: "text" };
import sql0009 from "../../drizzle/0009_one_key_in_each_state.sql" with { type: "text" };
import sql0010 from "../../drizzle/0010_mails.sql" with { type: "text" };
import sql0011 from "../../drizzle/0011_events_about_keys.sql" with { type: "text" };
import sql0012 from "../../drizzle/0012_mailed_links.sql" with { type: "text" };
import sql0013 from "../../drizzle/0013_address_changes.sql" with { type: "text" };
import sql0014 from "../../drizzle/0014_traces.sql" with { type: "text" };
import sql0015 from "../../drizzle/0015_key_uses.sql" with { type: "text" };
import sql0016 from "../../drizzle/0016_refresh_retries.sql" with { type: "text" };
import sql0017 from "../../drizzle/0017_erasure.sql" with { type: "text" };
import sql0018 from "../../drizzle/0018_known_device_mail.sql" with { type: "text" };
import sql0019 from "../../drizzle/0019_revoked_tokens.sql" with { type: "text" };
import sql0020 from "../../drizzle/0020_anonymous_actors.sql" with { type: "text" };
import sql0021 from "../../drizzle/0021_registrations.sql" with { type: "text" };
import sql0022 from "../../drizzle/0022_publish_events.sql" with { type: "text" };
import sql0023 from "../../drizzle/0023_webhooks.sql" with { type: "text" };

export const migrations: { tag: string; sql: string }[] = [
  { tag: "0000_users", sql: sql0000 },
  { tag: "0001_updated_at", sql: sql0001 },
  { tag: "0002_sessions", sql: sql0002 },
  { tag: "0003_principal_changes", sql: sql0003 },
  { tag: "0004_limits", sql: sql0004 },
  { tag: "0005_signing_keys", sql: sql0005 },
  { tag: "0006_clients", sql: sql0006 },
  { tag: "0007_versions", sql: sql0007 },
  { tag: "0008_idempotency", sql: sql0008 },
  { tag: "0009_one_key_in_each_state", sql: sql0009 },
  { tag: "0010_mails", sql: sql0010 },
  { tag: "0011_events_about_keys", sql: sql0011 },
  { tag: "0012_mailed_links", sql: sql0012 },
  { tag: "0013_address_changes", sql: sql0013 },
  { tag: "0014_traces", sql: sql0014 },
  { tag: "0015_key_uses", sql: sql0015 },
  { tag: "0016_refresh_retries", sql: sql0016 },
  { tag: "0017_erasure", sql: sql0017 },
  { tag: "0018_known_device_mail", sql: sql0018 },
  { tag: "0019_revoked_tokens", sql: sql0019 },
  { tag: "0020_anonymous_actors", sql: sql0020 },
  { tag: "0021_registrations", sql: sql0021 },
  { tag: "0022_publish_events", sql: sql0022 },
  { tag: "0023_webhooks", sql: sql0023 },
];
