ALTER TABLE "events" DROP CONSTRAINT "events_actor_kind";--> statement-breakpoint
-- NOT VALID: the rows satisfied the narrower check, and a scan would block every write meanwhile.
ALTER TABLE "events" ADD CONSTRAINT "events_actor_kind" CHECK ("events"."actor_kind" in ('anonymous', 'stranger', 'user', 'operator')) NOT VALID;
