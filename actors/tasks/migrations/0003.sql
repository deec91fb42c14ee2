-- Where an attempt works: the CLI's id of the conversation, and the folder with home and workspace.
-- The next attempt goes on there.

ALTER TABLE attempts ADD COLUMN session_id TEXT;

ALTER TABLE attempts ADD COLUMN place TEXT
