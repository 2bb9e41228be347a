-- What is remembered of each continuous job. The version counts the writes.
CREATE TABLE keep_jobs (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    version BIGINT NOT NULL,
    kept TEXT NOT NULL,
    PRIMARY KEY (scope, address)
);

-- What somebody asked for beside the manifest. Times are milliseconds since 1970.
CREATE TABLE keep_wishes (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    paused BIGINT NOT NULL,
    restarts BIGINT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    -- Greater than that of all that was asked for before.
    change BIGINT NOT NULL,
    PRIMARY KEY (scope, address)
);

CREATE INDEX keep_wishes_by_change ON keep_wishes (change);

-- What was decided with a write of a job, and why.
CREATE TABLE keep_events (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    version BIGINT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (scope, address, version, number)
);

-- Who acts. A beat that does not change any more is one of a holder that is gone; one that has left is called nothing.
CREATE TABLE keep_leases (
    name TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder TEXT NOT NULL,
    beat BIGINT NOT NULL,
    -- When that was, by the holder's clock: for people.
    heard BIGINT NOT NULL
);

-- What this memory is called: those who are asked to run something tell by it which memory asks.
CREATE TABLE keep_identity (
    one BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL
);
