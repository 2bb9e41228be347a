-- Pools that can have drivers. Times are milliseconds since 1970.
CREATE TABLE connect_pools (
    scope TEXT NOT NULL,
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    engine TEXT NOT NULL,
    share TEXT NOT NULL,
    -- The cores and the bytes of memory of a driver with its executors; 0 if not known.
    cores BIGINT NOT NULL,
    memory BIGINT NOT NULL,
    -- Whether drivers are started if sessions wait for one.
    starts BIGINT NOT NULL,
    -- The minimum number of drivers that are ready, and the revision of the pool; 0 if dcp does not start its drivers.
    min_idle BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (scope, domain, name)
);

-- Drivers that serve Spark Connect.
CREATE TABLE connect_drivers (
    id TEXT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL,
    domain TEXT NOT NULL,
    pool TEXT NOT NULL,
    -- What the source of the driver reports.
    address TEXT NOT NULL,
    engine TEXT NOT NULL,
    share TEXT NOT NULL,
    -- Those of the driver with its executors; 0 if not known.
    cores BIGINT NOT NULL,
    memory BIGINT NOT NULL,
    max_sessions BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    -- `starting`, `open` once it has answered a proxy, `draining` (no new session), or `gone`.
    state TEXT NOT NULL,
    -- The time at which it was open first; 0 before.
    opened_at BIGINT NOT NULL,
    -- The user of a private driver, once it has one.
    owner TEXT NOT NULL,
    -- Numbers of sessions: those that have not ended, and all.
    live BIGINT NOT NULL,
    total BIGINT NOT NULL
);

-- Sessions, each on one driver for ever.
CREATE TABLE connect_sessions (
    domain TEXT NOT NULL,
    user_name TEXT NOT NULL,
    session TEXT NOT NULL,
    driver TEXT NOT NULL,
    bound_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    -- 0 for a session that has not ended.
    ended_at BIGINT NOT NULL,
    PRIMARY KEY (domain, user_name, session)
);

CREATE INDEX connect_sessions_by_user ON connect_sessions (user_name, session);
CREATE INDEX connect_sessions_by_id ON connect_sessions (session);
CREATE INDEX connect_sessions_by_driver ON connect_sessions (driver, ended_at);

-- Sessions that wait for a driver of a pool.
CREATE TABLE connect_demand (
    domain TEXT NOT NULL,
    user_name TEXT NOT NULL,
    session TEXT NOT NULL,
    scope TEXT NOT NULL,
    pool TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (domain, user_name, session)
);

-- Drivers that the pool loop starts. A row is written before its submit, and deleted after the end of its execution.
CREATE TABLE connect_members (
    scope TEXT NOT NULL,
    domain TEXT NOT NULL,
    pool TEXT NOT NULL,
    slot BIGINT NOT NULL,
    -- Differs between all starts. It is part of the token of the submit.
    nonce TEXT NOT NULL,
    -- The fingerprint of the job, and the revision of the pool that replaced drivers last.
    job TEXT NOT NULL,
    build BIGINT NOT NULL,
    -- Empty until the Runner has returned it.
    execution TEXT NOT NULL,
    -- Whether its end is requested.
    is_ending BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    PRIMARY KEY (scope, domain, pool, slot)
);

-- The last failures of pools whose drivers end before they serve.
CREATE TABLE connect_failures (
    scope TEXT NOT NULL,
    domain TEXT NOT NULL,
    pool TEXT NOT NULL,
    -- The fingerprint of the drivers' job.
    job TEXT NOT NULL,
    -- The number of failures in a row.
    attempts BIGINT NOT NULL,
    failed_at BIGINT NOT NULL,
    cause TEXT NOT NULL,
    message TEXT NOT NULL,
    -- Empty if the Runner rejected it.
    execution TEXT NOT NULL,
    PRIMARY KEY (scope, domain, pool)
);

-- Sandboxes: a session and a schema of a user. A row is written before its schema is created, and deleted after its schema.
CREATE TABLE connect_sandboxes (
    domain TEXT NOT NULL,
    user_name TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The branch of the repository; empty if it was created outside of one.
    branch TEXT NOT NULL,
    -- The requested pool and engine; empty for any.
    pool TEXT NOT NULL,
    engine TEXT NOT NULL,
    -- The requested minimum of cores and of bytes of memory; 0 for any.
    cores BIGINT NOT NULL,
    memory BIGINT NOT NULL,
    catalog_name TEXT NOT NULL,
    schema_name TEXT NOT NULL,
    -- The session that has it now.
    session TEXT NOT NULL,
    -- The session that was opened last; empty if none was.
    opened_session TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- The time at which its removal was begun last; 0 if it was not.
    ending_at BIGINT NOT NULL,
    PRIMARY KEY (domain, user_name, name)
);

CREATE UNIQUE INDEX connect_sandboxes_by_schema ON connect_sandboxes (catalog_name, schema_name);
