-- Where events stand in the log, so that it is shown in pages and goes on live.
-- Those of before stand nowhere until a replay.

ALTER TABLE timeline ADD COLUMN position bigint NOT NULL DEFAULT 0;
CREATE INDEX timeline_positions ON timeline (project, position);
CREATE INDEX timeline_subjects ON timeline (project, subject, position);
CREATE INDEX timeline_types ON timeline (project, type, position);

-- The tasks as they were at the edge of the log: what is older than the events that are kept.
CREATE TABLE task_edge (LIKE task_list INCLUDING ALL);
INSERT INTO task_edge SELECT t.* FROM task_list t WHERE NOT EXISTS (
    SELECT FROM timeline e WHERE e.project = t.project AND e.subject = 'tasks/' || t.id AND e.sequence <= 1);
UPDATE task_edge t SET sequence = 0 WHERE EXISTS (
    SELECT FROM timeline e WHERE e.project = t.project AND e.subject = 'tasks/' || t.id);

-- Since when every change of a task is kept.
CREATE TABLE history (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    edge timestamptz NOT NULL
);
INSERT INTO history (edge) SELECT coalesce(min(at), now()) FROM timeline;

-- The rebuilding of projections from the log, each a generation of its own; it goes on where it was interrupted.
CREATE TABLE replays (
    generation bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    begun_at   timestamptz NOT NULL DEFAULT now(),
    beat_at    timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    position   bigint NOT NULL DEFAULT 0
);
