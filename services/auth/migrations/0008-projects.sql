-- Projects, the tenants: 'default' is the platform's own; those that have keys, users or extensions already are known.

CREATE TABLE projects (
    name        text PRIMARY KEY CHECK (name ~ '^[a-z0-9_-]{1,64}$'),
    title       text NOT NULL DEFAULT '',
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz
);
INSERT INTO projects (name, created_by)
SELECT 'default', 'auth' UNION SELECT project, 'auth' FROM api_keys
UNION SELECT project, 'auth' FROM users UNION SELECT project, 'auth' FROM extensions;

-- Models that another project, or everybody ('*'), may read or ask for predictions.
CREATE TABLE shares (
    id         text PRIMARY KEY,
    project    text NOT NULL REFERENCES projects (name),
    model      text NOT NULL,
    shared_to  text NOT NULL,
    level      text NOT NULL CHECK (level IN ('read', 'infer')),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project, model, shared_to)
);
