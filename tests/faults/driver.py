"""`understudy serve …` with points to be killed at: run as a program, by its path.

The environment names the plan. Only what runs is wrapped; the program itself knows nothing of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])

from faults import inject  # noqa: E402, F401 - the path comes first; it does its work as it loads
from understudy.cli import main  # noqa: E402 - likewise
from understudy.supervision.forkserver import ForkServer  # noqa: E402 - likewise


def preload_too() -> None:
    """Have the fork server load what wraps the functions of its children."""
    make = ForkServer.__init__

    def made(forks: ForkServer, preload: Any = (), *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        make(forks, (*preload, "faults.inject"), *args, **kwargs)

    ForkServer.__init__ = made  # type: ignore[method-assign]


if __name__ == "__main__":
    preload_too()
    main()
