-- Decisions that somebody answers for, each with the digest of the one before; `data` is text, so that it stays as it was digested.

CREATE TABLE audit (
    position       bigint PRIMARY KEY,
    project        text NOT NULL,
    at             timestamptz NOT NULL,
    type           text NOT NULL,
    source         text NOT NULL,
    subject        text NOT NULL,
    event_id       text NOT NULL,
    actor          text NOT NULL,
    correlation_id text NOT NULL,
    causation_id   text NOT NULL,
    data           text NOT NULL,
    previous       text NOT NULL,
    digest         text NOT NULL,
    UNIQUE (source, event_id)
);
CREATE INDEX audit_shown ON audit (project, position DESC);
CREATE TABLE audit_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL,
    digest   text NOT NULL
);
INSERT INTO audit_head (position, digest) VALUES (0, '');
