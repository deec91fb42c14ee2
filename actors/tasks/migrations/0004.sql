-- What agents left for each other and nobody has read. A row goes when it is read.

CREATE TABLE messages (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id   TEXT NOT NULL,
    receiver TEXT NOT NULL,
    sender   TEXT NOT NULL,
    task_id  TEXT NOT NULL,
    at       REAL NOT NULL,
    text     TEXT NOT NULL
) STRICT;

CREATE INDEX messages_of ON messages (run_id, receiver, seq)
