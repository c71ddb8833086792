-- What runners of tasks hold and would run, and how much each project has had.

CREATE TABLE admissions (
    task_id    text PRIMARY KEY,
    owner      text NOT NULL,
    node       text NOT NULL,
    project    text NOT NULL,
    needs      jsonb NOT NULL,
    share      double precision NOT NULL,
    counted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    until      timestamptz NOT NULL
);
CREATE INDEX admissions_owner ON admissions (owner);

CREATE TABLE wishes (
    task_id    text PRIMARY KEY,
    owner      text NOT NULL,
    node       text NOT NULL,
    project    text NOT NULL,
    priority   integer NOT NULL,
    needs      jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    until      timestamptz NOT NULL
);
CREATE INDEX wishes_owner ON wishes (owner);

CREATE TABLE project_usage (
    project    text PRIMARY KEY,
    used       double precision NOT NULL DEFAULT 0,
    counted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE nodes (
    node     text PRIMARY KEY,
    capacity jsonb NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
