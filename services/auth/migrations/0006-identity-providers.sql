-- Identity providers: others who say who a person is (OpenID Connect). The client secret is sealed with a key that is
-- not here.

CREATE TABLE identity_providers (
    name          text PRIMARY KEY CHECK (name ~ '^[a-z0-9_-]{1,64}$'),
    project       text NOT NULL,
    issuer        text NOT NULL,
    client_id     text NOT NULL,
    sealed        bytea,
    public_url    text NOT NULL,
    scopes        text[] NOT NULL,
    name_claim    text NOT NULL,
    groups_claim  text NOT NULL,
    group_roles   jsonb NOT NULL,
    default_roles text[] NOT NULL,
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);
CREATE INDEX identity_providers_of_projects ON identity_providers (project, name);

-- Which user a person of a provider is: by the provider's own id of the person, never by a name.
CREATE TABLE provider_users (
    provider text NOT NULL REFERENCES identity_providers ON DELETE RESTRICT,
    person   text NOT NULL,
    user_id  text NOT NULL UNIQUE REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (provider, person)
);

-- Logins that are with a provider now, each of which ends once, in whatever replica: digests alone, so that nobody can
-- end one who reads this table.
CREATE TABLE provider_logins (
    state_digest   text PRIMARY KEY CHECK (state_digest ~ '^[0-9a-f]{64}$'),
    browser_digest text NOT NULL CHECK (browser_digest ~ '^[0-9a-f]{64}$'),
    provider       text NOT NULL REFERENCES identity_providers ON DELETE CASCADE,
    forward_to     text NOT NULL DEFAULT '',
    ends_at        timestamptz NOT NULL
);
CREATE INDEX provider_logins_old ON provider_logins (ends_at);

-- Who comes through a provider has no password here.
ALTER TABLE users DROP CONSTRAINT users_password_hash_check;
ALTER TABLE users ADD CONSTRAINT users_password_hash_check
    CHECK (password_hash = '' OR password_hash LIKE '$argon2id$%');
