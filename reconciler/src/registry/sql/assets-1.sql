-- The last number of each scope: whoever writes completions of it holds this row, so that they come one after the other.
CREATE TABLE asset_scopes (
    scope TEXT NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);

CREATE TABLE asset_completions (
    scope TEXT NOT NULL REFERENCES asset_scopes,
    number BIGINT NOT NULL,
    asset TEXT NOT NULL,
    part TEXT NOT NULL,
    run TEXT NOT NULL,
    job TEXT,
    origin TEXT NOT NULL,
    told_by TEXT NOT NULL,
    told_at TEXT NOT NULL,
    PRIMARY KEY (scope, number),
    UNIQUE (scope, asset, part, run)
);

CREATE INDEX asset_completions_by_asset ON asset_completions (scope, asset, number);

-- The last completion of each asset, and how many there were.
CREATE TABLE asset_last (
    scope TEXT NOT NULL,
    asset TEXT NOT NULL,
    number BIGINT NOT NULL,
    times BIGINT NOT NULL,
    PRIMARY KEY (scope, asset),
    FOREIGN KEY (scope, number) REFERENCES asset_completions
);
