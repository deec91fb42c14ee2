-- Run statement by statement, in one transaction: a semicolon stands only at the end of a statement.
-- `task` and `result` are msgpack, times are seconds since the epoch.

CREATE TABLE tasks (
    seq          INTEGER PRIMARY KEY,
    task_id      TEXT NOT NULL UNIQUE,
    run_id       TEXT NOT NULL,
    state        TEXT NOT NULL,
    priority     INTEGER NOT NULL,
    agent_id     TEXT,
    attempts     INTEGER NOT NULL DEFAULT 0,
    submitted_at REAL NOT NULL,
    updated_at   REAL NOT NULL,
    task         BLOB NOT NULL
) STRICT;

CREATE INDEX tasks_by_state ON tasks (state, seq);

CREATE TABLE results (
    task_id     TEXT PRIMARY KEY REFERENCES tasks (task_id) ON DELETE CASCADE,
    finished_at REAL NOT NULL,
    result      BLOB NOT NULL
) STRICT;

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY,
    task_id  TEXT,
    agent_id TEXT,
    at       REAL NOT NULL,
    kind     TEXT NOT NULL,
    text     TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_task ON events (task_id, seq);

CREATE INDEX events_by_agent ON events (agent_id, seq)
