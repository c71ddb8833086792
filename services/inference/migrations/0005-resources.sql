-- What people want of a model's instances and memory, and what each node gives its versions now.
CREATE TABLE resources (
    project       text NOT NULL,
    model         text NOT NULL,
    instances_min integer NOT NULL,
    instances_max integer NOT NULL,
    pinned        boolean NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, model),
    CHECK (1 <= instances_min AND instances_min <= instances_max)
);
ALTER TABLE nodes ADD COLUMN resources jsonb NOT NULL DEFAULT '{}';
