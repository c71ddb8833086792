-- Runs of other programs that say what they do over MLflow's protocol: each is a task of kind run.

CREATE SEQUENCE experiment_numbers;

CREATE TABLE experiments (
    project    text NOT NULL,
    number     bigint NOT NULL DEFAULT nextval('experiment_numbers'),
    name       text NOT NULL,
    lifecycle  text NOT NULL DEFAULT 'active',
    tags       jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, number),
    UNIQUE (project, name)
);

CREATE TABLE runs (
    task_id    text PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
    project    text NOT NULL,
    experiment bigint NOT NULL,
    name       text NOT NULL,
    said_by    text NOT NULL,
    status     text NOT NULL DEFAULT 'RUNNING',
    lifecycle  text NOT NULL DEFAULT 'active',
    start_time bigint NOT NULL,
    end_time   bigint,
    tags       jsonb NOT NULL DEFAULT '{}',
    metrics    jsonb NOT NULL DEFAULT '{}',
    inputs     jsonb NOT NULL DEFAULT '[]',
    outputs    jsonb NOT NULL DEFAULT '[]',
    heard_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project, experiment) REFERENCES experiments (project, number)
);
CREATE INDEX runs_recent ON runs (project, experiment, start_time DESC);

CREATE TABLE logged_models (
    id         text PRIMARY KEY,
    project    text NOT NULL,
    experiment bigint NOT NULL,
    name       text NOT NULL,
    model_type text NOT NULL,
    run_id     text NOT NULL,
    status     text NOT NULL,
    lifecycle  text NOT NULL DEFAULT 'active',
    tags       jsonb NOT NULL DEFAULT '{}',
    params     jsonb NOT NULL DEFAULT '{}',
    metrics    jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project, experiment) REFERENCES experiments (project, number)
);
CREATE INDEX logged_models_recent ON logged_models (project, experiment, created_at DESC);

-- Files of runs and of their models, opaque, by the path that their client gave them.

CREATE TABLE run_files (
    project text NOT NULL,
    path    text NOT NULL,
    owner   text NOT NULL,
    digest  text NOT NULL,
    size    bigint NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, path)
);
CREATE INDEX run_files_owner ON run_files (project, owner);
CREATE INDEX run_files_digest ON run_files (digest);
