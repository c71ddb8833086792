-- Deployments (the state wanted of each version), routes (which version answers), nodes (who holds what).

CREATE SEQUENCE routing_epoch;

CREATE TABLE deployments (
    project     text NOT NULL,
    model       text NOT NULL,
    version     integer NOT NULL,
    digest      text NOT NULL,
    signature   jsonb NOT NULL,
    state       text NOT NULL DEFAULT 'loading',
    note        text NOT NULL DEFAULT '',
    context     jsonb NOT NULL,
    drain_epoch bigint,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, model, version),
    CHECK (state IN ('loading', 'staged', 'serving', 'draining', 'unstaged', 'failed'))
);
CREATE INDEX deployments_held ON deployments (project, model)
    WHERE state IN ('loading', 'staged', 'serving', 'draining');

CREATE TABLE routes (
    project         text NOT NULL,
    model           text NOT NULL,
    wanted_version  integer NOT NULL,
    wanted_sequence bigint NOT NULL,
    version         integer,
    epoch           bigint NOT NULL DEFAULT 0,
    context         jsonb NOT NULL,
    PRIMARY KEY (project, model)
);

CREATE TABLE nodes (
    node        text PRIMARY KEY,
    lease_until timestamptz NOT NULL,
    epoch       bigint NOT NULL,
    held        text[] NOT NULL
);
