CREATE TABLE registry_scopes (
    scope TEXT NOT NULL PRIMARY KEY,
    lineage TEXT NOT NULL,
    serial BIGINT NOT NULL
);

CREATE TABLE registry_applies (
    scope TEXT NOT NULL REFERENCES registry_scopes,
    serial BIGINT NOT NULL,
    id TEXT NOT NULL,
    applied_by TEXT NOT NULL,
    applied_at TEXT NOT NULL,
    source_commit TEXT,
    counts TEXT NOT NULL,
    PRIMARY KEY (scope, serial),
    UNIQUE (scope, id)
);

CREATE TABLE registry_bodies (
    scope TEXT NOT NULL REFERENCES registry_scopes,
    fingerprint TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (scope, fingerprint)
);

-- A deletion is a revision without a fingerprint.
CREATE TABLE registry_revisions (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    revision BIGINT NOT NULL,
    serial BIGINT NOT NULL,
    action TEXT NOT NULL,
    fingerprint TEXT,
    PRIMARY KEY (scope, address, revision),
    FOREIGN KEY (scope, serial) REFERENCES registry_applies,
    FOREIGN KEY (scope, fingerprint) REFERENCES registry_bodies
);

-- The last revision of each address. Those of addresses that were deleted stay, so that counting goes on from there.
CREATE TABLE registry_current (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    revision BIGINT NOT NULL,
    serial BIGINT NOT NULL,
    fingerprint TEXT,
    PRIMARY KEY (scope, address),
    FOREIGN KEY (scope, address, revision) REFERENCES registry_revisions
);

CREATE TABLE registry_unpublished (
    scope TEXT NOT NULL,
    serial BIGINT NOT NULL,
    PRIMARY KEY (scope, serial),
    FOREIGN KEY (scope, serial) REFERENCES registry_applies
);
