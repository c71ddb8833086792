-- Sessions of users: a refresh token is known by its digest alone; `chain` is what the next one is derived with.

CREATE TABLE sessions (
    id            text PRIMARY KEY,
    user_id       text NOT NULL REFERENCES users ON DELETE CASCADE,
    project       text NOT NULL,
    epoch         bigint NOT NULL,
    chain         bytea NOT NULL CHECK (octet_length(chain) = 32),
    token_digest  text NOT NULL CHECK (token_digest ~ '^[0-9a-f]{64}$'),
    turns         integer NOT NULL DEFAULT 0,
    address       text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz NOT NULL DEFAULT now(),
    ends_at       timestamptz NOT NULL,
    ended_at      timestamptz
);
CREATE INDEX sessions_of_users ON sessions (user_id, last_used_at DESC);
CREATE INDEX sessions_old ON sessions (ends_at);

-- Sessions that ended while a token of theirs may count, with the time (Unix) until which it may.
ALTER TABLE users ADD COLUMN ended_sessions jsonb NOT NULL DEFAULT '{}';

-- Second factors of users: the secret sealed with a key that is not here, recovery codes as digests.
CREATE TABLE second_factors (
    user_id      text PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    sealed       bytea NOT NULL,
    confirmed_at timestamptz,
    last_step    bigint NOT NULL DEFAULT 0,
    recovery     text[] NOT NULL DEFAULT '{}'
);

-- Software that asks in its own name: never its secrets, only their digests, two at most.
CREATE TABLE service_accounts (
    id         text PRIMARY KEY,
    project    text NOT NULL,
    name       text NOT NULL CHECK (name ~ '^[a-z0-9_-]{1,64}$'),
    roles      text[] NOT NULL CHECK (cardinality(roles) > 0),
    secrets    jsonb NOT NULL CHECK (jsonb_array_length(secrets) BETWEEN 1 AND 2),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_accounts_name UNIQUE (project, name)
);

-- Invitations: a token that makes one user, known by its digest alone.
CREATE TABLE invitations (
    id          text PRIMARY KEY,
    project     text NOT NULL,
    name        text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._@+-]{0,63}$'),
    roles       text[] NOT NULL CHECK (cardinality(roles) > 0),
    digest      text NOT NULL UNIQUE CHECK (digest ~ '^[0-9a-f]{64}$'),
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    ends_at     timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX invitations_recent ON invitations (project, created_at DESC);
