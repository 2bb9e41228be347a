-- The identity of the control plane: one row, with a random text.
CREATE TABLE runner_control_plane (
    only_row BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL
);
