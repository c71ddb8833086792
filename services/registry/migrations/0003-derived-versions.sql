-- Versions that were made of another one of their model.

ALTER TABLE versions ADD COLUMN derived_from integer;
