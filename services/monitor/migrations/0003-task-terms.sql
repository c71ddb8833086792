-- What the list shows of the terms of tasks.

ALTER TABLE task_list
    ADD COLUMN priority  integer NOT NULL DEFAULT 0,
    ADD COLUMN tags      text[] NOT NULL DEFAULT '{}',
    ADD COLUMN remark    text NOT NULL DEFAULT '',
    ADD COLUMN waits_for text[] NOT NULL DEFAULT '{}',
    ADD COLUMN parent    text NOT NULL DEFAULT '';
CREATE INDEX task_list_tags ON task_list USING gin (tags);
CREATE INDEX task_list_parents ON task_list (project, parent) WHERE parent <> '';
