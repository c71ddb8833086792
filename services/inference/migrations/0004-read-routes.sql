-- The newest epoch by whose routes a node answers; NULL for a node of a release that does not tell it.
ALTER TABLE nodes ADD COLUMN seen bigint;
