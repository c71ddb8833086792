-- Ids sort by time, as those of the platform do.
INSERT INTO trainer.outbox (id, bucket, subject, headers, payload, published_at, attempts)
SELECT uuidv7(), number % 8, 'evt.default.tasks.v1.task_changed',
    '{"ce-type": "aimass.tasks.v1.TaskChanged", "ce-subject": "tasks/old", "ce-sequence": "1"}',
    convert_to(repeat('x', 400), 'UTF8'), now(), 1
FROM generate_series(1, :stored) AS number;
INSERT INTO trainer.aggregates (aggregate, sequence)
SELECT 'default/tasks/train-' || uuidv7(), 1 FROM generate_series(1, :stored / 20) AS number;
INSERT INTO evaluator.inbox (consumer, event_id)
SELECT 'evaluator', 'trainer|' || uuidv7() FROM generate_series(1, :stored);
VACUUM ANALYZE trainer.outbox;
VACUUM ANALYZE trainer.aggregates;
VACUUM ANALYZE evaluator.inbox;
CHECKPOINT
