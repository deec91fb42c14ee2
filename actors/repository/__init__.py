"""The user's repository: where a task's files come from, and where its work goes, as commits."""
