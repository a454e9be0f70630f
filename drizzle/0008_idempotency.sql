CREATE TABLE "idempotency" (
	"key" "bytea" PRIMARY KEY NOT NULL,
	"body" "bytea" NOT NULL,
	"outcome" jsonb,
	"claimed_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "idempotency_expires_at" ON "idempotency" USING btree ("expires_at");