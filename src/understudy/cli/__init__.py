"""The command line. `main` turns every error into one message and a documented exit code."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit. No traceback reaches the user, not even while it loads."""
    try:
        from understudy.cli.app import run_app  # noqa: PLC0415 - Ctrl-C while loading is caught

        code = run_app(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
