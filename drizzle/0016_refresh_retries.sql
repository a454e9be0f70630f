ALTER TABLE "sessions" ADD COLUMN "rotated_by_device" uuid;--> statement-breakpoint
ALTER TABLE "sessions" ADD COLUMN "rotated_by" "bytea";--> statement-breakpoint
ALTER TABLE "sessions" ADD COLUMN "retries" integer DEFAULT 0 NOT NULL;