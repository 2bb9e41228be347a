-- Without a key, an execution is in neither index. Most have none, and each index costs a page of every commit.
DROP INDEX runner_executions_exclusive;
DROP INDEX runner_executions_awaiting;
CREATE UNIQUE INDEX runner_executions_exclusive ON runner_executions (exclusive)
    WHERE ended IS NULL AND exclusive IS NOT NULL;
CREATE INDEX runner_executions_awaiting ON runner_executions (awaits) WHERE ended IS NULL AND awaits IS NOT NULL;
