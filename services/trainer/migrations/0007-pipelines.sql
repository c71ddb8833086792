-- Pipelines, their steps, and what events told of the versions that they make.

CREATE TABLE pipelines (
    id          text PRIMARY KEY,
    project     text NOT NULL,
    name        text NOT NULL,
    on_failure  text NOT NULL,
    context     jsonb NOT NULL,
    cloned_from text NOT NULL DEFAULT '',
    ending      text,
    state       text NOT NULL DEFAULT 'running',
    look_at     timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz
);
CREATE INDEX pipelines_due ON pipelines (look_at) WHERE ended_at IS NULL;
CREATE INDEX pipelines_recent ON pipelines (project, id DESC);

CREATE TABLE pipeline_steps (
    pipeline_id   text NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    position      integer NOT NULL,
    name          text NOT NULL,
    spec          jsonb NOT NULL,
    state         text NOT NULL DEFAULT 'waiting',
    task_id       text NOT NULL DEFAULT '',
    model         text NOT NULL DEFAULT '',
    version       integer,
    note          text NOT NULL DEFAULT '',
    error_class   text NOT NULL DEFAULT '',
    error_message text NOT NULL DEFAULT '',
    approved_by   text NOT NULL DEFAULT '',
    started_at    timestamptz,
    ended_at      timestamptz,
    PRIMARY KEY (pipeline_id, position),
    UNIQUE (pipeline_id, name)
);

CREATE TABLE version_facts (
    project text NOT NULL,
    model   text NOT NULL,
    version integer NOT NULL,
    event   text NOT NULL,
    about   text NOT NULL,
    data    jsonb NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, model, version, event, about)
);
CREATE INDEX version_facts_registered ON version_facts (project, about) WHERE event = 'version_registered';
