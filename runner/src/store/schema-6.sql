-- The clusters of applications. A row without a cluster is of an application that was stopped before it had one.
CREATE TABLE runner_bindings (
    application TEXT NOT NULL PRIMARY KEY,
    cluster TEXT
);
