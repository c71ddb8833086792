-- On which terms tasks run: priority, resources, limits and retries, what they wait for, what people note of them.

ALTER TABLE tasks
    ADD COLUMN priority        integer NOT NULL DEFAULT 0,
    ADD COLUMN terms           jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN waits_for       text[] NOT NULL DEFAULT '{}',
    ADD COLUMN parent          text NOT NULL DEFAULT '',
    ADD COLUMN tags            text[] NOT NULL DEFAULT '{}',
    ADD COLUMN remark          text NOT NULL DEFAULT '',
    ADD COLUMN pause_requested boolean NOT NULL DEFAULT false,
    ADD COLUMN retried         jsonb NOT NULL DEFAULT '{}';
DROP INDEX tasks_claimable;
CREATE INDEX tasks_claimable ON tasks (project, priority DESC, created_at)
    WHERE state IN ('TASK_STATE_QUEUED', 'TASK_STATE_RUNNING');
CREATE INDEX tasks_of_parent ON tasks (parent, created_at) WHERE parent <> '';
