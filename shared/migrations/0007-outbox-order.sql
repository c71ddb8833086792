-- The relay takes the oldest of all buckets at once: by position, whatever the bucket.

CREATE INDEX outbox_pending ON outbox (position) WHERE published_at IS NULL AND dead_at IS NULL;
DROP INDEX outbox_unpublished;
