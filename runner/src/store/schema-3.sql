-- The key that an execution waits for, because it replaces the one that has it. Then it has none in `exclusive`.
ALTER TABLE runner_executions ADD COLUMN awaits TEXT;

CREATE INDEX runner_executions_awaiting ON runner_executions (awaits) WHERE ended IS NULL;
