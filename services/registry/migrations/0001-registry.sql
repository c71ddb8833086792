-- Models, their versions with lineage, the evaluations that promotion stands on, aliases, and data sets.

CREATE TABLE models (
    project    text NOT NULL,
    name       text NOT NULL,
    task_type  text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name)
);

CREATE TABLE datasets (
    project    text NOT NULL,
    name       text NOT NULL,
    digest     text NOT NULL,
    parts      jsonb NOT NULL,
    facts      jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name, digest)
);

CREATE TABLE versions (
    project        text NOT NULL,
    model          text NOT NULL,
    version        integer NOT NULL CHECK (version > 0),
    digest         text NOT NULL,
    task_id        text NOT NULL,
    task_type      text NOT NULL,
    dataset        text NOT NULL,
    dataset_digest text NOT NULL,
    code_version   text NOT NULL,
    parameters     jsonb NOT NULL,
    metrics        jsonb NOT NULL,
    labels         jsonb NOT NULL,
    signature      jsonb NOT NULL,
    gate           jsonb NOT NULL,
    card           jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, model, version),
    CONSTRAINT one_version_per_task UNIQUE (project, task_id),
    FOREIGN KEY (project, model) REFERENCES models (project, name),
    FOREIGN KEY (project, dataset, dataset_digest) REFERENCES datasets (project, name, digest)
);

CREATE TABLE evaluations (
    project          text NOT NULL,
    id               text NOT NULL,
    model            text NOT NULL,
    version          integer NOT NULL,
    digest           text NOT NULL,
    dataset_digest   text NOT NULL,
    metrics          jsonb NOT NULL,
    champion_version integer,
    champion_digest  text NOT NULL,
    passed           boolean NOT NULL,
    reasons          jsonb NOT NULL,
    auto_promote     boolean NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project, id)
);
CREATE INDEX evaluations_of_a_digest ON evaluations (project, model, digest, recorded_at DESC);

CREATE TABLE aliases (
    project       text NOT NULL,
    model         text NOT NULL,
    alias         text NOT NULL,
    version       integer NOT NULL,
    evaluation_id text NOT NULL DEFAULT '',
    actor         text NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, model, alias),
    FOREIGN KEY (project, model, version) REFERENCES versions (project, model, version)
);
