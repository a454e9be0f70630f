ALTER TABLE "mail_requests" ADD COLUMN "trace_parent" text;--> statement-breakpoint
ALTER TABLE "mails" ADD COLUMN "trace_parent" text;