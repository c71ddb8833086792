-- Commands that were obeyed, so that a repeat makes no second task.

CREATE TABLE requests (
    project    text NOT NULL,
    request_id text NOT NULL,
    task_id    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, request_id)
);
