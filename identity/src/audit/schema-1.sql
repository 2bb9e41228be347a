-- The id begins with the time.
CREATE TABLE audit_entries (
    id TEXT NOT NULL PRIMARY KEY,
    at TEXT NOT NULL,
    caller TEXT NOT NULL,
    credential TEXT NOT NULL,
    action TEXT NOT NULL,
    scope TEXT,
    domain TEXT,
    subject TEXT,
    allowed TEXT NOT NULL,
    reason TEXT NOT NULL,
    peer TEXT,
    trace TEXT NOT NULL
);
