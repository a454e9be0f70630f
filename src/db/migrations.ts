// Written by `bun run db:generate`.
import sql0000 from "../../drizzle/0000_users.sql" with { type: "text" };
import sql0001 from "../../drizzle/0001_updated_at.sql" with { type: "text" };
import sql0002 from "../../drizzle/0002_sessions.sql" with { type: "text" };
import sql0003 from "../../drizzle/0003_principal_changes.sql" with { type: "text" };

export interface Migration {
  tag: string;
  sql: string;
}

export const migrations: Migration[] = [
  { tag: "0000_users", sql: sql0000 },
  { tag: "0001_updated_at", sql: sql0001 },
  { tag: "0002_sessions", sql: sql0002 },
  { tag: "0003_principal_changes", sql: sql0003 },
];
