CREATE TABLE "registrations" (
	"id" uuid PRIMARY KEY NOT NULL,
	"position" bigint GENERATED ALWAYS AS IDENTITY (sequence name "registrations_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"purpose" text NOT NULL,
	"email" text NOT NULL,
	"email_key" text NOT NULL,
	"username" text,
	"full_name" text,
	"locale" text,
	"password_hash" text,
	"hash" "bytea",
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "registrations_hash" UNIQUE("hash"),
	CONSTRAINT "registrations_purpose" CHECK ("registrations"."purpose" in ('verify_email', 'reset_password'))
);
--> statement-breakpoint
CREATE INDEX "registrations_email_key" ON "registrations" USING btree ("email_key","position");--> statement-breakpoint
CREATE INDEX "registrations_created_at" ON "registrations" USING btree ("created_at");--> statement-breakpoint
-- Active users whose email was never verified, and that nobody has used, become registrations with
-- their links and their waiting mails. Their ids get a last event, as at each deletion (UUIDv7). The
-- lock waits for an instance that is just verifying one of them: then that user stays.
WITH pending AS (
	SELECT * FROM "users" WHERE "wanted_username" IS NOT NULL AND NOT "email_verified" AND NOT "is_superuser"
		AND "is_active" AND NOT EXISTS (SELECT 1 FROM "sessions" WHERE "sessions"."user_id" = "users"."id")
	FOR UPDATE
), links AS (
	SELECT 'verify_email' AS purpose, pending.*, NULL::bytea AS token_hash, "updated_at" AS expires FROM pending
	UNION ALL
	SELECT s."purpose", pending.*, s."hash", s."expires_at" FROM pending
		JOIN "one_time_secrets" s ON s."user_id" = pending."id" AND s."address_key" = pending."email_key"
			AND s."purpose" IN ('verify_email', 'reset_password')
), moved AS (
	INSERT INTO "registrations" ("id", "purpose", "email", "email_key", "username", "full_name", "locale", "password_hash", "hash", "created_at", "expires_at")
	SELECT gen_random_uuid(), purpose, "email", "email_key",
		CASE WHEN purpose = 'verify_email' THEN "wanted_username" END,
		CASE WHEN purpose = 'verify_email' THEN "full_name" END, "locale",
		CASE WHEN purpose = 'verify_email' THEN "password_hash" END, token_hash, "updated_at", expires FROM links
), recorded AS (
	INSERT INTO "events" ("id", "type", "occurred_at", "actor_kind", "subject_id", "data")
	SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '7'
		|| substr(md5("id"::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,
		'user.deleted', now(), 'operator', "id", '{}' FROM pending
), erased AS (
	INSERT INTO "erasures" ("user_id", "created_at") SELECT "id", now() FROM pending ON CONFLICT DO NOTHING
), kept AS (
	UPDATE "mails" SET "user_id" = NULL FROM pending WHERE "mails"."user_id" = pending."id"
)
DELETE FROM "users" USING pending WHERE "users"."id" = pending."id";--> statement-breakpoint
ALTER TABLE "users" DROP CONSTRAINT "users_wanted_username_shape";--> statement-breakpoint
DROP INDEX "users_never_proven";--> statement-breakpoint
ALTER TABLE "users" DROP COLUMN "wanted_username";
