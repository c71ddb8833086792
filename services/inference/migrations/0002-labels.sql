-- The names of a version's classes, for the classification extension.
ALTER TABLE deployments ADD COLUMN labels text[] NOT NULL DEFAULT '{}';
