-- Scalars of tasks by step, in chunks of little-endian columns: 8 bytes a step (whole), a time and a reading (double).

CREATE TABLE task_series (
    task_id   text NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    name      text NOT NULL,
    fence     bigint NOT NULL,
    chunk     integer NOT NULL,
    before    bigint NOT NULL,
    count     bigint NOT NULL,
    least     bigint NOT NULL,
    greatest  bigint NOT NULL,
    per_epoch double precision,
    steps     bytea NOT NULL,
    times     bytea NOT NULL,
    readings  bytea NOT NULL,
    PRIMARY KEY (task_id, name, fence, chunk)
);
ALTER TABLE task_series ALTER COLUMN steps SET STORAGE EXTERNAL, ALTER COLUMN times SET STORAGE EXTERNAL,
    ALTER COLUMN readings SET STORAGE EXTERNAL;

-- Histograms, texts, tables and images of tasks: small ones as JSON, files by digest.

CREATE TABLE task_records (
    task_id  text NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    name     text NOT NULL,
    step     bigint NOT NULL,
    kind     text NOT NULL,
    fence    bigint NOT NULL,
    body     jsonb,
    digest   text,
    media    text NOT NULL DEFAULT 'application/json',
    size     bigint NOT NULL DEFAULT 0,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, name, step)
);
CREATE INDEX task_records_digest ON task_records (digest) WHERE digest IS NOT NULL;
