-- A page of a domain, in the order of ids.
CREATE INDEX runner_executions_by_domain ON runner_executions (domain, id);
