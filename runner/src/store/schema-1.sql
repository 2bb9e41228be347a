-- The definition of a job, once for all of its executions.
CREATE TABLE runner_jobs (
    job TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

-- Times are milliseconds since 1970. An id begins with the time at which it was made, so that ids are in its order.
CREATE TABLE runner_executions (
    id TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    scope TEXT,
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES runner_jobs,
    exclusive TEXT,
    owner TEXT NOT NULL,
    phase TEXT NOT NULL,
    version BIGINT NOT NULL,
    ended BIGINT,
    -- When what a backend keeps of it is to be removed.
    clean_at BIGINT,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    -- What a run that succeeded was measured by.
    measured TEXT
);

CREATE INDEX runner_executions_by_name ON runner_executions (domain, name, id);
CREATE INDEX runner_executions_by_phase ON runner_executions (phase, id);
CREATE INDEX runner_executions_by_owner ON runner_executions (owner) WHERE ended IS NULL;
CREATE INDEX runner_executions_to_clean ON runner_executions (clean_at) WHERE clean_at IS NOT NULL;
CREATE UNIQUE INDEX runner_executions_exclusive ON runner_executions (exclusive) WHERE ended IS NULL;

-- How the queries of streams are: written often, and much at once.
CREATE TABLE runner_progress (
    id TEXT NOT NULL PRIMARY KEY,
    progress TEXT NOT NULL
);

CREATE TABLE runner_fences (
    lease TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL
);

-- Those that take care of executions. A beat that does not change any more is one of a Runner that is gone.
CREATE TABLE runner_runners (
    id TEXT NOT NULL PRIMARY KEY,
    beat BIGINT NOT NULL
);
