"""`understudy serve …` with points to be killed at: run as a program, by its path.

The environment names the plan. Only what runs is wrapped; the program itself knows nothing of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])

from faults.inject import install, replace  # noqa: E402 - the path comes first

from understudy.cli import main  # noqa: E402 - likewise


def preload_too(make: Any) -> Any:  # noqa: ANN401 - a constructor
    """Have the fork server load what wraps the functions of its children."""

    def made(forks: Any, preload: Any = (), *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        make(forks, (*preload, "faults.preload"), *args, **kwargs)

    return made


if __name__ == "__main__":
    install()
    replace("understudy.supervision.forkserver:ForkServer.__init__", preload_too)
    main()
