-- Trainings that begin by the clock or by events, and which chains of events each has answered.

CREATE TABLE schedules (
    project    text NOT NULL,
    name       text NOT NULL,
    cron       text,
    trigger    jsonb,
    task       jsonb NOT NULL,
    enabled    boolean NOT NULL,
    overlap    boolean NOT NULL,
    actor      text NOT NULL,
    next_at    timestamptz,
    last_at    timestamptz,
    last_task  text NOT NULL DEFAULT '',
    last_error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name),
    CHECK ((cron IS NULL) <> (trigger IS NULL))
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE enabled AND next_at IS NOT NULL;
CREATE INDEX schedules_triggers ON schedules (project, (trigger ->> 'event')) WHERE enabled;

CREATE TABLE schedule_chains (
    project        text NOT NULL,
    name           text NOT NULL,
    correlation_id text NOT NULL,
    at             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name, correlation_id),
    FOREIGN KEY (project, name) REFERENCES schedules (project, name) ON DELETE CASCADE
);
