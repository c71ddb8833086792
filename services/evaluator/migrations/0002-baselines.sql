-- What the baseline of a member of the library reached on the same items, and the part that it learns from.
ALTER TABLE versions ADD COLUMN train_part text NOT NULL DEFAULT '';
ALTER TABLE evaluations
    ADD COLUMN baseline_method  text NOT NULL DEFAULT '',
    ADD COLUMN baseline_metric  text NOT NULL DEFAULT '',
    ADD COLUMN baseline_metrics jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN baseline_beaten  boolean;
