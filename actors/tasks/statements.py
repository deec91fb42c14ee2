"""The SQL of the task store."""

from __future__ import annotations

INSERT_TASK = """
    INSERT INTO tasks (task_id, run_id, state, priority, submitted_at, updated_at, task)
    VALUES (?, ?, 'submitted', ?, ?, ?, ?)
"""
SELECT_TASK = """
    SELECT task, state, run_id, agent_id, attempts, submitted_at, updated_at, deaths, quarantined,
        EXISTS (
            SELECT 1 FROM attempts
            WHERE attempts.task_id = tasks.task_id AND outcome IS NOT 'refused'
        )
    FROM tasks
"""
SET_STATE = """
    UPDATE tasks SET state = ?, agent_id = ?, attempts = coalesce(?, attempts), updated_at = ?
    WHERE task_id = ? AND state NOT IN ('completed', 'failed', 'canceled', 'rejected')
"""
UNFINISHED = f"""
    {SELECT_TASK}
    WHERE state NOT IN ('completed', 'failed', 'canceled', 'rejected')
        AND run_id = coalesce(?, run_id)
    ORDER BY seq
"""
OPEN_RUNS = """
    SELECT run_id FROM tasks WHERE state NOT IN ('completed', 'failed', 'canceled', 'rejected')
    UNION SELECT run_id FROM incarnations WHERE ended_at IS NULL
"""
INSERT_RESULT = "INSERT INTO results (task_id, finished_at, result) VALUES (?, ?, ?)"
PUT_BACK = """
    UPDATE tasks SET state = 'submitted', run_id = ?, agent_id = NULL, attempts = 0, deaths = 0,
        quarantined = 0, updated_at = ?
    WHERE task_id = ? AND quarantined = 1
"""

INSERT_ATTEMPT = """
    INSERT INTO attempts
        (task_id, attempt, agent_id, incarnation, started_at, session_id, place)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
MOVE_ATTEMPT = "UPDATE attempts SET session_id = ? WHERE task_id = ? AND ended_at IS NULL"
TASKS_SINCE = """
    SELECT task FROM tasks
    WHERE seq > (SELECT min(seq) FROM tasks WHERE task_id IN (SELECT value FROM json_each(?)))
    ORDER BY seq
"""
END_ATTEMPT = """
    UPDATE attempts SET ended_at = ?, outcome = ? WHERE task_id = ? AND ended_at IS NULL
"""
SELECT_ATTEMPTS = """
    SELECT attempt, agent_id, incarnation, started_at, ended_at, outcome FROM attempts
    WHERE task_id = ? ORDER BY seq
"""
# What was refused was never begun, and its place is still with the agent that refused it.
CONVERSATION_OF = """
    SELECT session_id, place FROM attempts
    WHERE task_id = ? AND place IS NOT NULL AND outcome IS NOT 'refused'
    ORDER BY seq DESC LIMIT 1
"""
PLACES_IN_USE = """
    SELECT DISTINCT place FROM attempts JOIN tasks USING (task_id)
    WHERE place IS NOT NULL AND state NOT IN ('completed', 'failed', 'canceled', 'rejected')
"""
HOLDS_LEASE = """
    SELECT 1 FROM attempts
    WHERE task_id = ? AND ended_at IS NULL AND agent_id = ? AND incarnation = ?
"""
INSERT_REFUSAL = "INSERT INTO refusals (agent_id, at, task_id, incarnation) VALUES (?, ?, ?, ?)"

SELECT_EVENT = "SELECT seq, task_id, agent_id, at, kind, text FROM events"
INSERT_EVENT = "INSERT INTO events (task_id, agent_id, at, kind, text) VALUES (?, ?, ?, ?, ?)"

# What a dead service had in flight.
COUNT_DEATHS = """
    UPDATE tasks SET deaths = deaths + 1
    WHERE run_id = :run AND state NOT IN ('completed', 'failed', 'canceled', 'rejected')
        AND task_id IN (SELECT task_id FROM attempts WHERE ended_at IS NULL)
"""
END_LEASES = """
    UPDATE attempts SET ended_at = :now, outcome = 'service_died'
    WHERE ended_at IS NULL AND task_id IN (SELECT task_id FROM tasks WHERE run_id = :run)
"""
WAIT_AGAIN = """
    UPDATE tasks SET state = 'submitted', agent_id = NULL, updated_at = :now
    WHERE run_id = :run
        AND state NOT IN ('submitted', 'completed', 'failed', 'canceled', 'rejected')
"""
DEADLY = """
    SELECT task_id, attempts, deaths FROM tasks
    WHERE run_id = ? AND deaths >= ?
        AND state NOT IN ('completed', 'failed', 'canceled', 'rejected')
"""

# What is older than ?1, but for the tasks named in ?2, a JSON list.
PRUNE_EVENTS = """
    DELETE FROM events WHERE at < ?1 AND task_id IS NULL OR task_id IN (
        SELECT task_id FROM tasks
        WHERE updated_at < ?1 AND state IN ('completed', 'failed', 'canceled', 'rejected')
            AND task_id NOT IN (SELECT value FROM json_each(?2))
    )
"""
HAS_EVENT = "SELECT 1 FROM events WHERE task_id = ? AND kind = ? LIMIT 1"
PRUNE_MESSAGES = "DELETE FROM messages WHERE at < ?1"
PRUNE_REFUSALS = "DELETE FROM refusals WHERE at < ?1"
# The service's newest number stays: the next one goes up from it.
PRUNE_INCARNATIONS = """
    DELETE FROM incarnations WHERE ended_at < ?1 AND (
        run_id <> 'service' OR incarnation < (
            SELECT max(incarnation) FROM incarnations WHERE run_id = 'service'
        )
    )
"""
PRUNE_TASKS = """
    DELETE FROM tasks
    WHERE updated_at < ?1 AND state IN ('completed', 'failed', 'canceled', 'rejected')
        AND task_id NOT IN (SELECT value FROM json_each(?2))
"""
FINISHED_BEFORE = """
    SELECT tasks.task_id FROM tasks JOIN results USING (task_id)
    WHERE updated_at < ? AND state IN ('completed', 'failed', 'canceled', 'rejected')
    ORDER BY seq
"""
# The finished ones among those named in a JSON list.
DELETE_EVENTS = """
    DELETE FROM events WHERE task_id IN (
        SELECT task_id FROM tasks
        WHERE state IN ('completed', 'failed', 'canceled', 'rejected')
            AND task_id IN (SELECT value FROM json_each(?))
    )
"""
DELETE_TASKS = """
    DELETE FROM tasks
    WHERE state IN ('completed', 'failed', 'canceled', 'rejected')
        AND task_id IN (SELECT value FROM json_each(?))
"""
