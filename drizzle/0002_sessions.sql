CREATE TABLE "events" (
	"id" uuid PRIMARY KEY NOT NULL,
	"position" bigint GENERATED ALWAYS AS IDENTITY (sequence name "events_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"transaction_id" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	"type" text NOT NULL,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"actor_kind" text NOT NULL,
	"actor_id" uuid,
	"subject_id" uuid NOT NULL,
	"address" text,
	"user_agent" text,
	"request_id" text,
	"data" jsonb NOT NULL,
	CONSTRAINT "events_actor_kind" CHECK ("events"."actor_kind" in ('stranger', 'user', 'operator')),
	CONSTRAINT "events_user_agent_length" CHECK (length("events"."user_agent") <= 512)
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"address" text,
	"user_agent" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"last_used_at" timestamp (3) with time zone NOT NULL,
	"current_hash" "bytea" NOT NULL,
	"previous_hash" "bytea",
	"nonce" "bytea",
	"seed_hash" "bytea" NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"rotations" timestamp (3) with time zone[] DEFAULT '{}' NOT NULL,
	CONSTRAINT "sessions_user_agent_length" CHECK (length("sessions"."user_agent") <= 512)
);
--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "events_position" ON "events" USING btree ("transaction_id","position");--> statement-breakpoint
CREATE INDEX "events_subject" ON "events" USING btree ("subject_id","occurred_at","id");--> statement-breakpoint
CREATE INDEX "sessions_user_id" ON "sessions" USING btree ("user_id","created_at","id");--> statement-breakpoint
CREATE INDEX "sessions_last_used_at" ON "sessions" USING btree ("last_used_at");--> statement-breakpoint
CREATE INDEX "sessions_created_at" ON "sessions" USING btree ("created_at");