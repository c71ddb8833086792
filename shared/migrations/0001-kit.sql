-- What every service with a database has: outbox, inbox, attempts, sequences, idempotency.

CREATE TABLE outbox (
    position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid NOT NULL UNIQUE,
    bucket       smallint NOT NULL,
    subject      text NOT NULL,
    headers      jsonb NOT NULL,
    payload      bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    dead_at      timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text
);
CREATE INDEX outbox_unpublished ON outbox (bucket, position) WHERE published_at IS NULL AND dead_at IS NULL;

CREATE TABLE aggregates (
    aggregate text PRIMARY KEY,
    sequence  bigint NOT NULL
);

CREATE TABLE inbox (
    consumer   text NOT NULL,
    event_id   text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_age ON inbox (handled_at);

CREATE TABLE attempts (
    consumer   text NOT NULL,
    event_id   text NOT NULL,
    begun      integer NOT NULL DEFAULT 0,
    failed     integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);

CREATE TABLE idempotency (
    project      text NOT NULL,
    key          text NOT NULL,
    request_hash text NOT NULL,
    reply        jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, key)
);
