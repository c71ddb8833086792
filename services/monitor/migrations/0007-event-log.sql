-- Where events stand in the log, so that it is shown in pages and goes on live. Those of before stand nowhere until a replay.

ALTER TABLE timeline ADD COLUMN position bigint NOT NULL DEFAULT 0;
CREATE INDEX timeline_positions ON timeline (project, position);
CREATE INDEX timeline_subjects ON timeline (project, subject, position);
CREATE INDEX timeline_types ON timeline (project, type, position);
