"""Roles: which agents do which tasks, and how."""
