-- What deployments and routes were, so that lists can be shown as of a time; kept for 30 days after a change.

CREATE TABLE history (
    relation text NOT NULL,
    project  text NOT NULL,
    key      text NOT NULL,
    since    timestamptz NOT NULL,
    until    timestamptz NOT NULL DEFAULT 'infinity',
    record   jsonb NOT NULL
);
CREATE INDEX history_keys ON history (relation, project, key, until);
CREATE TABLE history_edge (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    edge timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Closes the record of before and opens the new one, at the time of the transaction, as `created_at` has it.
-- The arguments are the columns that name a row beside its project.
CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    moment timestamptz;
    old_or_new jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
    named text := '';
    field text;
BEGIN
    FOREACH field IN ARRAY TG_ARGV LOOP
        named := named || '/' || (old_or_new ->> field);
    END LOOP;
    UPDATE history SET until = greatest(now(), since)
    WHERE relation = TG_TABLE_NAME AND project = old_or_new ->> 'project' AND key = named AND until = 'infinity'
    RETURNING until INTO moment;
    moment := coalesce(moment, now());
    DELETE FROM history
    WHERE relation = TG_TABLE_NAME AND project = old_or_new ->> 'project' AND key = named
        AND until < moment - interval '30 days';
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO history (relation, project, key, since, record)
        VALUES (TG_TABLE_NAME, old_or_new ->> 'project', named, moment, old_or_new);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON deployments
    FOR EACH ROW EXECUTE FUNCTION keep_history('model', 'version');
CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON routes
    FOR EACH ROW EXECUTE FUNCTION keep_history('model');

INSERT INTO history (relation, project, key, since, record)
SELECT 'deployments', project, '/' || model || '/' || version, clock_timestamp(), to_jsonb(d) FROM deployments d
UNION ALL SELECT 'routes', project, '/' || model, clock_timestamp(), to_jsonb(r) FROM routes r;
INSERT INTO history_edge DEFAULT VALUES;
