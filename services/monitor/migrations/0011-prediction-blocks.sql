-- Predictions as they were logged, those of a message together as arrays: a row and its index entries for each cost several times as much.

CREATE TABLE prediction_blocks (
    project      text    NOT NULL,
    model        text    NOT NULL,
    evaluation   boolean NOT NULL,
    count        integer NOT NULL,
    first_id     text COLLATE "C" NOT NULL,
    last_id      text COLLATE "C" NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    ids          text[]    STORAGE EXTERNAL NOT NULL,
    versions     integer[] NOT NULL,
    statuses     integer[] NOT NULL,
    latencies_us bigint[]  STORAGE EXTERNAL NOT NULL,
    batches      integer[] NOT NULL,
    key_ids      text[]    NOT NULL,
    trace_ids    text[]    STORAGE EXTERNAL NOT NULL,
    times        float8[]  STORAGE EXTERNAL NOT NULL
);
CREATE INDEX prediction_blocks_of_a_model ON prediction_blocks (project, model, last_at DESC);
CREATE INDEX prediction_blocks_of_a_project ON prediction_blocks (project, last_at DESC);
CREATE INDEX prediction_blocks_of_an_id ON prediction_blocks (project, last_id) INCLUDE (first_id);
CREATE INDEX prediction_blocks_age ON prediction_blocks USING brin (last_at) WITH (autosummarize = on);

INSERT INTO prediction_blocks
SELECT project, model, evaluation, count(*), min(id COLLATE "C"), max(id COLLATE "C"), min(at), max(at),
    array_agg(id), array_agg(version), array_agg(status), array_agg(latency_us), array_agg(batch), array_agg(key_id),
    array_agg(trace_id), array_agg(extract(epoch FROM at)::float8)
FROM (
    SELECT *, row_number() OVER (PARTITION BY project, model, evaluation ORDER BY at) / 1000 AS block FROM predictions
) AS numbered
GROUP BY project, model, evaluation, block;

DROP TABLE predictions;

-- Each prediction; `first_` and `last_` are of its block, and tell a query which blocks it needs.
CREATE VIEW predictions AS
SELECT project, model, id, version, status, latency_us, batch, key_id, trace_id, evaluation, to_timestamp(seconds) AS at,
    first_id, last_id, first_at, last_at
FROM prediction_blocks,
    unnest(ids, versions, statuses, latencies_us, batches, key_ids, trace_ids, times)
    AS each (id, version, status, latency_us, batch, key_id, trace_id, seconds);
