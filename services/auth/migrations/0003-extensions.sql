-- Software of others on the bus: what it hears and says, and the digest of its password, never the password.

CREATE TABLE extensions (
    id                text PRIMARY KEY,
    project           text NOT NULL,
    name              text NOT NULL CHECK (name ~ '^[a-z0-9_-]{1,64}$'),
    hears             text[] NOT NULL,
    says              jsonb NOT NULL,
    starts_at         timestamptz,
    ack_wait          integer NOT NULL,
    max_ack_pending   integer NOT NULL,
    events_per_second integer NOT NULL,
    max_bytes         integer NOT NULL,
    digest            text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    created_by        text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    changed_at        timestamptz NOT NULL DEFAULT now(),
    disabled_at       timestamptz,
    CONSTRAINT extensions_name UNIQUE (project, name)
);
