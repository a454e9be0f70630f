-- Tells every instance whose account or session has changed, by whatever hand: they forget what they know of it
-- (src/kit/principal-cache.ts). A notification is delivered when the transaction has committed, and in the order of commits.
CREATE FUNCTION notify_of_principals() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  owner text := CASE tg_table_name WHEN 'users' THEN 'id' ELSE 'user_id' END;
BEGIN
  IF tg_op = 'TRUNCATE' THEN
    PERFORM pg_notify('bunker_principals', '*');
    RETURN NULL;
  END IF;
  -- A thousand names would take longer to tell than everybody takes to be read again.
  EXECUTE format($query$
    WITH owners AS (SELECT DISTINCT %I::text AS name FROM was LIMIT 1001)
    SELECT pg_notify('bunker_principals', name) FROM owners WHERE (SELECT count(*) FROM owners) <= 1000
    UNION ALL
    SELECT pg_notify('bunker_principals', '*') WHERE (SELECT count(*) FROM owners) > 1000
  $query$, owner);
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE FUNCTION notify_of_principal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('bunker_principals', old.user_id::text);
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER users_changed AFTER UPDATE ON "users" REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION notify_of_principals();
--> statement-breakpoint
CREATE TRIGGER users_gone AFTER DELETE ON "users" REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION notify_of_principals();
--> statement-breakpoint
CREATE TRIGGER users_emptied AFTER TRUNCATE ON "users" FOR EACH STATEMENT EXECUTE FUNCTION notify_of_principals();
--> statement-breakpoint
CREATE TRIGGER sessions_gone AFTER DELETE ON "sessions" REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION notify_of_principals();
--> statement-breakpoint
CREATE TRIGGER sessions_emptied AFTER TRUNCATE ON "sessions" FOR EACH STATEMENT EXECUTE FUNCTION notify_of_principals();
--> statement-breakpoint
-- Not at a refresh, which moves nothing that an access token depends on.
CREATE TRIGGER sessions_changed AFTER UPDATE OF "user_id", "created_at" ON "sessions" FOR EACH ROW EXECUTE FUNCTION notify_of_principal();
