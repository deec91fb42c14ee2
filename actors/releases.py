"""The releases of Claude Code that the project holds for: from the oldest one to the pinned one.

Moving the pin is a change of the one line below and `make pin` (docs/claude-code.md).
"""

DEFAULT_CLI_VERSION = "2.1.332"
OLDEST_CLI_VERSION = "2.1.197"
