-- Looks at what the weights of a training answer, after chosen epochs.

CREATE TABLE insights (
    task_id text NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    epoch   integer NOT NULL,
    facts   jsonb NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, epoch)
);
