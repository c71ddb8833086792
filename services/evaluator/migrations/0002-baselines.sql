-- What the baseline of a member of the library reached on the same items, and the part that it learns from: in a table of
-- its own, as an older evaluator reads all columns of versions.
CREATE TABLE training_parts (
    project text NOT NULL,
    model   text NOT NULL,
    version integer NOT NULL,
    digest  text NOT NULL,
    PRIMARY KEY (project, model, version)
);

ALTER TABLE evaluations
    ADD COLUMN baseline_method  text NOT NULL DEFAULT '',
    ADD COLUMN baseline_metric  text NOT NULL DEFAULT '',
    ADD COLUMN baseline_metrics jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN baseline_beaten  boolean;
