-- Copies of versions and champions as events told them, and evaluations with their verdicts.

CREATE TABLE versions (
    project        text NOT NULL,
    model          text NOT NULL,
    version        integer NOT NULL,
    digest         text NOT NULL,
    task_type      text NOT NULL,
    dataset        text NOT NULL,
    dataset_digest text NOT NULL,
    test_part      text NOT NULL,
    labels         jsonb NOT NULL,
    signature      jsonb NOT NULL,
    gate           jsonb NOT NULL,
    auto_promote   boolean NOT NULL,
    PRIMARY KEY (project, model, version)
);

CREATE TABLE champions (
    project  text NOT NULL,
    model    text NOT NULL,
    version  integer NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (project, model)
);

CREATE TABLE evaluations (
    id               text PRIMARY KEY REFERENCES tasks (id),
    project          text NOT NULL,
    model            text NOT NULL,
    version          integer NOT NULL,
    digest           text NOT NULL,
    champion_version integer,
    champion_digest  text NOT NULL DEFAULT '',
    dataset_digest   text NOT NULL,
    metrics          jsonb NOT NULL DEFAULT '{}',
    report           jsonb NOT NULL DEFAULT '{}',
    champion_metrics jsonb NOT NULL DEFAULT '{}',
    passed           boolean,
    reasons          jsonb NOT NULL DEFAULT '[]',
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX evaluations_of_version ON evaluations (project, model, version);
CREATE INDEX evaluations_recent ON evaluations (project, created_at DESC);
