ALTER TABLE "one_time_secrets" ALTER COLUMN "address_key" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "mail_requests" ADD COLUMN "user_id" uuid;--> statement-breakpoint
ALTER TABLE "one_time_secrets" ADD COLUMN "position" bigint NOT NULL GENERATED ALWAYS AS IDENTITY (sequence name "one_time_secrets_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1);--> statement-breakpoint
ALTER TABLE "one_time_secrets" ADD COLUMN "new_email" text;--> statement-breakpoint
ALTER TABLE "one_time_secrets" ADD COLUMN "code_mac" "bytea";--> statement-breakpoint
ALTER TABLE "one_time_secrets" ADD COLUMN "code_tries" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "wanted_username" text;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "devices_known_since" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "mail_requests" ADD CONSTRAINT "mail_requests_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "mail_requests_user_id" ON "mail_requests" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "users_never_proven" ON "users" USING btree ("updated_at") WHERE "users"."wanted_username" is not null;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_wanted_username_shape" CHECK ("users"."wanted_username" ~ '^[A-Za-z0-9._-]{3,32}$');