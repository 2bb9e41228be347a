CREATE TABLE identity_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    member_of TEXT NOT NULL,
    salt TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    used_at TEXT
);
