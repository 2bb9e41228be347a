-- The stored state of each continuous job. The version counts the writes.
CREATE TABLE reconcile_jobs (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (scope, address)
);

-- Requests of users: pauses and restarts. Times are milliseconds since 1970.
CREATE TABLE reconcile_requests (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    paused BIGINT NOT NULL,
    restarts BIGINT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    -- Greater than the change of every earlier request.
    change BIGINT NOT NULL,
    PRIMARY KEY (scope, address)
);

CREATE INDEX reconcile_requests_by_change ON reconcile_requests (change);

-- Decisions that were stored with a write of a job, and their reasons.
CREATE TABLE reconcile_events (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    version BIGINT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (scope, address, version, number)
);

-- Leases of reconcilers. A holder whose beat stays the same is gone; an empty holder released the lease.
CREATE TABLE reconcile_leases (
    name TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder TEXT NOT NULL,
    beat BIGINT NOT NULL,
    -- The time of the last beat, by the clock of the holder: for people.
    heartbeat BIGINT NOT NULL
);

-- The identity of this database, which names its leases at Runners.
CREATE TABLE reconcile_identity (
    one BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL
);
