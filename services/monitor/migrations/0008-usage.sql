-- What was used: counters that only grow, one row for each run, so that nothing is ever counted twice.

CREATE TABLE usage_counts (
    project      text   NOT NULL,
    day          date   NOT NULL,
    kind         text   NOT NULL,
    model        text   NOT NULL,
    identity     text   NOT NULL,
    run          text   NOT NULL,
    requests     bigint NOT NULL,
    errors       bigint NOT NULL,
    compute_us   bigint NOT NULL,
    input_bytes  bigint NOT NULL,
    output_bytes bigint NOT NULL,
    PRIMARY KEY (project, day, kind, model, identity, run)
);

-- When each attempt of a task ran: from its first word to its last, or to the first one after.
CREATE TABLE usage_attempts (
    project  text        NOT NULL,
    task_id  text        NOT NULL,
    attempt  integer     NOT NULL,
    kind     text        NOT NULL,
    model    text        NOT NULL,
    identity text        NOT NULL,
    began_at timestamptz,
    seen_at  timestamptz,
    ended_at timestamptz,
    PRIMARY KEY (project, task_id, attempt)
);
CREATE INDEX usage_attempts_times ON usage_attempts (project, began_at);

-- What units cost from a day on.
CREATE TABLE prices (
    valid_from date  PRIMARY KEY,
    currency   text  NOT NULL,
    prices     jsonb NOT NULL,
    actor      text  NOT NULL,
    set_at     timestamptz NOT NULL DEFAULT now()
);

-- What a project may use, and what was last said of it.
CREATE TABLE quotas (
    project text   NOT NULL,
    quota   text   NOT NULL,
    soft    bigint,
    hard    bigint,
    PRIMARY KEY (project, quota)
);
CREATE TABLE quota_states (
    project text     NOT NULL,
    quota   text     NOT NULL,
    level   smallint NOT NULL,
    period  text     NOT NULL,
    refused bigint,
    PRIMARY KEY (project, quota)
);
