-- What a model is tagged with; grants may be limited to models by their tags.

ALTER TABLE models ADD COLUMN tags text[] NOT NULL DEFAULT '{}';
