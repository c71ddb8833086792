-- Users: people who log in with a password; only its argon2id hash is kept. A raised epoch ends all sessions.

CREATE TABLE users (
    id            text PRIMARY KEY,
    project       text NOT NULL,
    name          text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._@+-]{0,63}$'),
    roles         text[] NOT NULL CHECK (cardinality(roles) > 0),
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    epoch         bigint NOT NULL DEFAULT 1,
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);
CREATE INDEX users_recent ON users (project, created_at DESC);

-- Attempts to log in, by the digest of the name that was given, whether or not there is such a user.
CREATE TABLE login_attempts (
    name_digest   text PRIMARY KEY CHECK (name_digest ~ '^[0-9a-f]{64}$'),
    failures      integer NOT NULL DEFAULT 0,
    blocked_until timestamptz NOT NULL DEFAULT '0001-01-01T00:00:00Z',
    last_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_attempts_old ON login_attempts (last_at);

-- The public halves of the keys that sign tokens; the private halves never leave the process that made them.
CREATE TABLE signing_keys (
    kid        text PRIMARY KEY,
    public     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retires_at timestamptz
);
