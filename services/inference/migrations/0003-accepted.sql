-- Requests that were accepted and are answered later, and the webhooks that their answers are posted to.

CREATE TABLE webhooks (
    project    text NOT NULL,
    name       text NOT NULL,
    url        text NOT NULL,
    secret     text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name)
);

CREATE TABLE inferences (
    id                  text PRIMARY KEY,
    project             text NOT NULL,
    model               text NOT NULL,
    version             integer,
    size                bigint NOT NULL,
    header_length       integer,
    context             jsonb NOT NULL,
    state               text NOT NULL DEFAULT 'queued',
    note                text NOT NULL DEFAULT '',
    fence               bigint NOT NULL DEFAULT 0,
    attempts            integer NOT NULL DEFAULT 0,
    lease_until         timestamptz,
    run_after           timestamptz NOT NULL DEFAULT now(),
    status              integer,
    reply_version       text,
    reply_header_length integer,
    reply_size          bigint,
    retry_after         integer,
    webhook             text,
    delivery            text,
    deliveries          integer NOT NULL DEFAULT 0,
    deliver_after       timestamptz,
    delivery_problem    text NOT NULL DEFAULT '',
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    ended_at            timestamptz,
    CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    CHECK (delivery IN ('waiting', 'delivered', 'abandoned'))
);
CREATE INDEX inferences_claimable ON inferences (created_at) WHERE state IN ('queued', 'running');
CREATE INDEX inferences_pending ON inferences (project) INCLUDE (size) WHERE state IN ('queued', 'running');
CREATE INDEX inferences_recent ON inferences (project, created_at DESC);
CREATE INDEX inferences_ended ON inferences (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX inferences_to_deliver ON inferences (deliver_after) WHERE delivery = 'waiting';
