-- How long tasks took is looked up by what they are like, and what goes on by its state.

CREATE INDEX task_list_past ON task_list (project, kind, model, ended_at DESC) WHERE state = 'succeeded';
CREATE INDEX task_list_going ON task_list (created_at) WHERE state IN ('queued', 'running');
