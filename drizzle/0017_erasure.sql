CREATE TABLE "erasures" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "mails" ADD COLUMN "recipient_key" "bytea";--> statement-breakpoint
ALTER TABLE "mails" ADD COLUMN "user_id" uuid;--> statement-breakpoint
CREATE INDEX "events_actor_origin" ON "events" USING btree ("actor_id","id") WHERE "events"."actor_id" is not null and ("events"."address" is not null or "events"."user_agent" is not null);--> statement-breakpoint
CREATE INDEX "idempotency_user" ON "idempotency" USING btree (("outcome" -> 'value' ->> 'id'));--> statement-breakpoint
CREATE INDEX "mails_recipient" ON "mails" USING btree ("recipient_key","kind","created_at");--> statement-breakpoint
CREATE INDEX "mails_user_id" ON "mails" USING btree ("user_id");