-- Versions that people bring: without a task, perhaps without a data set; archived and deleted ones.

ALTER TABLE versions DROP CONSTRAINT one_version_per_task;
CREATE UNIQUE INDEX one_version_per_task ON versions (project, task_id) WHERE task_id <> '';
ALTER TABLE versions
    ALTER COLUMN dataset DROP NOT NULL,
    ALTER COLUMN dataset_digest DROP NOT NULL,
    ADD COLUMN source text NOT NULL DEFAULT 'training',
    ADD COLUMN actor text NOT NULL DEFAULT '',
    ADD COLUMN archived_at timestamptz,
    ADD COLUMN deleted_at timestamptz;
CREATE INDEX versions_of_a_digest ON versions (digest) WHERE deleted_at IS NULL;

ALTER TABLE models ADD COLUMN archived_at timestamptz;

ALTER TABLE datasets ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();
