-- Few messages are dead, and all of them are counted again and again.

CREATE INDEX outbox_dead ON outbox (position) WHERE dead_at IS NOT NULL;
