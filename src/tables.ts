import { limits } from "./limits/tables.ts";
import { erasures, eventCursors, events } from "./modules/events/tables.ts";
import { idempotency } from "./modules/idempotency/tables.ts";
import { keyUses, signingKeys } from "./modules/keys/tables.ts";
import { mailedLinks, mailRequests } from "./modules/links/tables.ts";
import { mails } from "./modules/mail/tables.ts";
import { clients, revokedTokens } from "./modules/oauth/tables.ts";
import { registrations } from "./modules/registration/tables.ts";
import { sessions } from "./modules/sessions/tables.ts";
import { users } from "./modules/users/tables.ts";
import { webhookDeliveries, webhooks } from "./modules/webhooks/tables.ts";
import { productTables } from "./product/tables.ts";

/** Every table of Bunker, in the order of docs/database.md. */
export const tables = [
  users,
  registrations,
  sessions,
  events,
  eventCursors,
  erasures,
  limits,
  signingKeys,
  keyUses,
  clients,
  revokedTokens,
  mailedLinks,
  mailRequests,
  mails,
  idempotency,
  webhooks,
  webhookDeliveries,
];

export const allTables = [...tables, ...productTables];
