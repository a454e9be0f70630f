CREATE TABLE "key_uses" (
	"kid" text PRIMARY KEY NOT NULL,
	"accepted_until" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
INSERT INTO "key_uses" SELECT "kid", CASE "state" WHEN 'retired' THEN "changed_at" ELSE now() END + interval '24 hours' FROM "signing_keys" WHERE "state" <> 'next';
