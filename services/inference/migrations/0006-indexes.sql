-- Search indexes; the documents of each lie in a table that is named by the task which made them, `generation`.
CREATE TABLE indexes (
    project    text NOT NULL,
    name       text NOT NULL,
    model      text NOT NULL,
    version    integer NOT NULL,
    input      text NOT NULL,
    output     text NOT NULL,
    dimensions integer NOT NULL,
    documents  integer NOT NULL,
    generation text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name)
);
