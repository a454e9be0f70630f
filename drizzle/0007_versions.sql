-- The time of the last change is also the version that callers compare by (ETag): it never repeats, nor goes back with a clock.
CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF new.updated_at <= old.updated_at AND new IS DISTINCT FROM old THEN
    new.updated_at := greatest(now(), old.updated_at + interval '1 millisecond');
  END IF;
  RETURN new;
END $$;
