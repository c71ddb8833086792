-- What is known of the last attempt that ended badly.

ALTER TABLE tasks ADD COLUMN failure jsonb;
