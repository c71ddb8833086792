-- Tasks: long work under a lease with a fencing number; the database's clock alone measures leases.

CREATE TABLE tasks (
    id               text PRIMARY KEY,
    project          text NOT NULL,
    kind             text NOT NULL,
    model            text NOT NULL,
    state            text NOT NULL DEFAULT 'TASK_STATE_QUEUED',
    spec             jsonb NOT NULL,
    context          jsonb NOT NULL,
    progress         double precision NOT NULL DEFAULT 0,
    note             text NOT NULL DEFAULT '',
    seconds_left     double precision,
    fence            bigint NOT NULL DEFAULT 0,
    lost             integer NOT NULL DEFAULT 0,
    lease_owner      text,
    lease_until      timestamptz,
    run_after        timestamptz NOT NULL DEFAULT now(),
    cancel_requested boolean NOT NULL DEFAULT false,
    error_class      text NOT NULL DEFAULT '',
    error_message    text NOT NULL DEFAULT '',
    result           jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    ended_at         timestamptz
);
CREATE INDEX tasks_claimable ON tasks (created_at) WHERE state IN ('TASK_STATE_QUEUED', 'TASK_STATE_RUNNING');
CREATE INDEX tasks_recent ON tasks (project, created_at DESC);

CREATE TABLE task_files (
    task_id  text NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    fence    bigint NOT NULL,
    role     text NOT NULL,
    step     integer NOT NULL,
    digest   text NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, role, step)
);
CREATE INDEX task_files_digest ON task_files (digest);

CREATE TABLE task_metrics (
    task_id text NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    epoch   integer NOT NULL,
    name    text NOT NULL,
    value   double precision NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, epoch, name)
);
