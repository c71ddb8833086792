-- What keys are narrowed to, when they were last used, and the secrets that still count for a while after a rotation.

ALTER TABLE api_keys ADD COLUMN bounds jsonb NOT NULL DEFAULT '{}';
ALTER TABLE api_keys ADD COLUMN last_used_at timestamptz;

CREATE TABLE rotated_secrets (
    digest       text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    key_id       text NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    counts_until timestamptz NOT NULL
);
CREATE INDEX rotated_secrets_key ON rotated_secrets (key_id);

-- Requests of a key on a day of UTC, for its daily quota.
CREATE TABLE key_days (
    key_id   text NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    day      date NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (key_id, day)
);
