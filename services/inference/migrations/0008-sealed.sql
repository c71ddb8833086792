-- Secrets of webhooks are sealed with a key outside the database; those that stand in clear are sealed at the next start.

ALTER TABLE webhooks ALTER COLUMN secret DROP NOT NULL;
ALTER TABLE webhooks ADD COLUMN sealed bytea;
