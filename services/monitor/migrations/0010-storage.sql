-- What each project kept in each hour, at most, and what it keeps now: the last word by the clock of who said it.

CREATE TABLE usage_storage (
    project    text        NOT NULL,
    hour       timestamptz NOT NULL,
    bytes_most bigint      NOT NULL,
    seen_at    timestamptz NOT NULL,
    bytes_last bigint      NOT NULL,
    PRIMARY KEY (project, hour)
);
