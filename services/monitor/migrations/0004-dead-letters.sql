-- What services gave up on, as the stream of dead letters holds it, and what was decided about it.

CREATE TABLE dead_letters (
    id             text PRIMARY KEY,
    position       bigint NOT NULL,
    project        text NOT NULL,
    service        text NOT NULL,
    state          text NOT NULL DEFAULT 'waiting',
    type           text NOT NULL,
    subject        text NOT NULL,
    event_id       text NOT NULL,
    error_class    text NOT NULL,
    error          text NOT NULL,
    stack          text NOT NULL,
    deliveries     integer NOT NULL,
    correlation_id text NOT NULL,
    traceparent    text NOT NULL,
    headers        jsonb NOT NULL,
    payload        bytea NOT NULL,
    at             timestamptz NOT NULL DEFAULT now(),
    decided_by     text NOT NULL DEFAULT '',
    decided_at     timestamptz,
    reason         text NOT NULL DEFAULT ''
);
CREATE INDEX dead_letters_shown ON dead_letters (project, at DESC, id);
CREATE INDEX dead_letters_position ON dead_letters (position);
