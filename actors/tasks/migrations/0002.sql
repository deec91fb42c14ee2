-- An attempt that has not ended is the lease of its task: whoever it names may record the result.
-- `deaths` counts how often the task was in flight when its agent or its service died.

ALTER TABLE tasks ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;

ALTER TABLE tasks ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;

CREATE TABLE attempts (
    seq         INTEGER PRIMARY KEY,
    task_id     TEXT NOT NULL REFERENCES tasks (task_id) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,
    agent_id    TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    started_at  REAL NOT NULL,
    ended_at    REAL,
    outcome     TEXT
) STRICT;

CREATE INDEX attempts_by_task ON attempts (task_id, seq);

CREATE UNIQUE INDEX leases ON attempts (task_id) WHERE ended_at IS NULL;

CREATE TABLE incarnations (
    run_id      TEXT NOT NULL,
    agent_id    TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    started_at  REAL NOT NULL,
    ended_at    REAL,
    reason      TEXT,
    PRIMARY KEY (run_id, agent_id, incarnation)
) STRICT;

CREATE TABLE refusals (
    agent_id TEXT NOT NULL,
    at       REAL NOT NULL,
    task_id  TEXT NOT NULL,
    incarnation INTEGER NOT NULL
) STRICT;

CREATE INDEX tasks_in_quarantine ON tasks (seq) WHERE quarantined = 1;

-- Version 1 knew the number of the last attempt alone, and which tasks were worked on.
INSERT INTO attempts (task_id, attempt, agent_id, incarnation, started_at, ended_at, outcome)
    SELECT task_id, attempts, coalesce(agent_id, 'unknown'), 0, updated_at,
        CASE state WHEN 'working' THEN NULL ELSE updated_at END,
        CASE state WHEN 'working' THEN NULL ELSE 'unknown' END
    FROM tasks WHERE attempts > 0;

-- Poison: "failure_kind" followed by "poison", as msgpack writes them.
UPDATE tasks SET quarantined = 1 WHERE state = 'failed' AND EXISTS (
    SELECT 1 FROM results WHERE results.task_id = tasks.task_id
        AND instr(result, x'ac6661696c7572655f6b696e64a6706f69736f6e') > 0
)
