-- What monitor has heard: tasks of all services, events, predictions and how many of those were lost.

CREATE TABLE task_list (
    project        text NOT NULL,
    id             text NOT NULL,
    sequence       bigint NOT NULL,
    kind           text NOT NULL,
    service        text NOT NULL,
    model          text NOT NULL,
    state          text NOT NULL,
    progress       double precision NOT NULL,
    note           text NOT NULL,
    seconds_left   double precision,
    attempt        integer NOT NULL,
    actor          text NOT NULL,
    correlation_id text NOT NULL,
    error_class    text NOT NULL,
    error_message  text NOT NULL,
    parameters     jsonb NOT NULL,
    result         jsonb NOT NULL,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    ended_at       timestamptz,
    PRIMARY KEY (project, id)
);
CREATE INDEX task_list_newest ON task_list (project, created_at DESC);

CREATE TABLE timeline (
    project        text NOT NULL,
    source         text NOT NULL,
    id             text NOT NULL,
    type           text NOT NULL,
    subject        text NOT NULL,
    sequence       bigint NOT NULL,
    at             timestamptz NOT NULL,
    actor          text NOT NULL,
    correlation_id text NOT NULL,
    causation_id   text NOT NULL,
    data           jsonb NOT NULL,
    PRIMARY KEY (project, source, id)
);
CREATE INDEX timeline_chains ON timeline (project, correlation_id, at);
CREATE INDEX timeline_age ON timeline (at);

CREATE TABLE predictions (
    project    text NOT NULL,
    id         text NOT NULL,
    model      text NOT NULL,
    version    integer NOT NULL,
    status     integer NOT NULL,
    latency_us bigint NOT NULL,
    batch      integer NOT NULL,
    key_id     text NOT NULL,
    trace_id   text NOT NULL,
    evaluation boolean NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX predictions_of_a_model ON predictions (project, model, at DESC);
CREATE INDEX predictions_age ON predictions (at);

CREATE TABLE losses (
    project    text NOT NULL,
    model      text NOT NULL,
    node       text NOT NULL,
    message_id text NOT NULL,
    counter    bigint NOT NULL,
    total      bigint NOT NULL,
    PRIMARY KEY (project, model, node)
);
