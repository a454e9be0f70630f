-- A row never lies about when it changed, whoever changes it and by whatever client.
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF new.updated_at = old.updated_at AND new IS DISTINCT FROM old THEN
    new.updated_at := greatest(now(), old.updated_at + interval '1 millisecond');
  END IF;
  RETURN new;
END $$;
--> statement-breakpoint
CREATE TRIGGER users_touch BEFORE UPDATE ON "users" FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
