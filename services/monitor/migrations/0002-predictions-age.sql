-- Predictions come in the order of time: a summary of blocks finds the old ones, and costs a row nothing.

DROP INDEX predictions_age;
CREATE INDEX predictions_age ON predictions USING brin (at) WITH (autosummarize = on);
