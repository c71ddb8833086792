-- API keys: never the secret, only its digest and a prefix to recognise it by.

CREATE TABLE api_keys (
    id         text PRIMARY KEY,
    project    text NOT NULL,
    name       text NOT NULL,
    roles      text[] NOT NULL CHECK (cardinality(roles) > 0),
    prefix     text NOT NULL,
    digest     text NOT NULL UNIQUE CHECK (digest ~ '^[0-9a-f]{64}$'),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_recent ON api_keys (project, created_at DESC);
