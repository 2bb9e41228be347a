-- A key belongs to the domain of its execution: executions of two domains may hold the same text.
DROP INDEX runner_executions_exclusive;
DROP INDEX runner_executions_awaiting;
CREATE UNIQUE INDEX runner_executions_exclusive ON runner_executions (domain, exclusive)
    WHERE ended IS NULL AND exclusive IS NOT NULL;
CREATE INDEX runner_executions_awaiting ON runner_executions (domain, awaits)
    WHERE ended IS NULL AND awaits IS NOT NULL;

-- The domain of a checkpoint: the first one that used it. Earlier executions of streams have their checkpoint as key.
CREATE TABLE runner_checkpoints (
    location TEXT NOT NULL PRIMARY KEY,
    domain TEXT NOT NULL
);
INSERT INTO runner_checkpoints (location, domain)
    SELECT exclusive, domain FROM runner_executions WHERE id IN (
        SELECT max(id) FROM runner_executions
        WHERE exclusive IS NOT NULL AND request LIKE '%"streaming":{%' AND request LIKE '%"checkpoint":%'
        GROUP BY exclusive
    );

-- Executions with an attempt that may be alive. They count for the limit of their domain.
CREATE INDEX runner_executions_running ON runner_executions (domain)
    WHERE phase IN ('SUBMITTING', 'PENDING', 'RUNNING', 'CANCELLING');

-- The size of the stored result of an execution that has ended; none once the result is removed.
ALTER TABLE runner_executions ADD COLUMN result_bytes BIGINT;
CREATE INDEX runner_executions_results ON runner_executions (domain, result_bytes) WHERE result_bytes IS NOT NULL;
