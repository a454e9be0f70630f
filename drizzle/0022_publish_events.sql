CREATE TABLE "event_cursors" (
	"name" text PRIMARY KEY NOT NULL,
	"transaction_id" "xid8" NOT NULL,
	"position" bigint NOT NULL,
	"holder" text,
	"leased_until" timestamp (3) with time zone
);
--> statement-breakpoint
-- Transaction ids of another server may be lower than those of restored events. This offset makes up
-- for that (src/modules/events/order.ts). A plan that contains it is invalidated when it changes.
CREATE FUNCTION event_transaction_offset() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 0::bigint';
--> statement-breakpoint
CREATE FUNCTION event_transaction_id() RETURNS xid8 LANGUAGE sql VOLATILE AS
$$ SELECT (pg_current_xact_id()::text::bigint + event_transaction_offset())::text::xid8 $$;
--> statement-breakpoint
-- Every transaction with a lower id has ended: what it wrote is visible, or never will be.
CREATE FUNCTION settled_transaction_id() RETURNS xid8 LANGUAGE sql STABLE AS
$$ SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + event_transaction_offset())::text::xid8 $$;
--> statement-breakpoint
ALTER TABLE "events" ALTER COLUMN "transaction_id" SET DEFAULT event_transaction_id();
--> statement-breakpoint
-- Wakes the readers of events. Delivered at the commit, once for each transaction.
CREATE FUNCTION notify_of_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('bunker_events', '');
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER events_recorded AFTER INSERT ON "events" FOR EACH STATEMENT EXECUTE FUNCTION notify_of_events();
