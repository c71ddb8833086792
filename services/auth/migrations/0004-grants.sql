-- Custom roles: of a project, or of all ('*'). Built-in roles stand in the code.

CREATE TABLE custom_roles (
    project     text NOT NULL,
    name        text NOT NULL CHECK (name ~ '^[a-z0-9_-]{1,64}$'),
    description text NOT NULL,
    permissions text[] NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name)
);

-- Groups of users: what is granted to a group, each member has.
CREATE TABLE user_groups (
    id         text PRIMARY KEY,
    project    text NOT NULL,
    name       text NOT NULL CHECK (name ~ '^[a-z0-9_-]{1,64}$'),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_groups_name UNIQUE (project, name)
);
CREATE TABLE group_members (
    group_id text NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    user_id  text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_of ON group_members (user_id);

-- Grants: a role to somebody, in a project or everywhere ('*'), beside the roles that users and keys have.
CREATE TABLE role_grants (
    id           text PRIMARY KEY,
    project      text NOT NULL,
    role         text NOT NULL,
    subject_kind text NOT NULL CHECK (subject_kind IN ('user', 'group', 'key')),
    subject_id   text NOT NULL,
    ends_at      timestamptz,
    condition    jsonb,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX role_grants_of ON role_grants (subject_kind, subject_id);
CREATE INDEX role_grants_role ON role_grants (role, project);
CREATE INDEX role_grants_recent ON role_grants (project, created_at DESC);
