-- Documents that were indexed before have no attributes; a building that goes on has none yet.
DO $$
DECLARE generation text;
BEGIN
    FOR generation IN
        SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'index-%'
    LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS attributes text NOT NULL DEFAULT ''{}''', generation);
    END LOOP;
END $$;
