-- Unlogged: written at most requests of strangers, and worth nothing after a crash.
CREATE UNLOGGED TABLE "limits" (
	"key" "bytea" PRIMARY KEY NOT NULL,
	"spent" integer NOT NULL,
	"granted" integer NOT NULL,
	"since" timestamp (3) with time zone NOT NULL,
	"ends_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE INDEX "limits_ends_at" ON "limits" USING btree ("ends_at");