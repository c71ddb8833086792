-- How often the files that a project's versions and data sets name changed, so that who adds them up reads them only then.

CREATE TABLE storage_marks (
    project text PRIMARY KEY,
    changes bigint NOT NULL DEFAULT 1
);

-- At the end of the transaction, so that nobody waits for another's mark while it does its work.
CREATE FUNCTION mark_storage() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO storage_marks (project) VALUES (coalesce(NEW.project, OLD.project))
    ON CONFLICT (project) DO UPDATE SET changes = storage_marks.changes + 1;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER storage AFTER INSERT OR DELETE OR UPDATE OF deleted_at ON versions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mark_storage();
CREATE CONSTRAINT TRIGGER storage AFTER INSERT OR DELETE ON datasets
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mark_storage();

INSERT INTO storage_marks (project) SELECT project FROM versions UNION SELECT project FROM datasets;
