"""The frame of every contender's program: a job in, one line of JSON out. Standard library only."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from bench.messaging.job import Job, Values

if TYPE_CHECKING:
    from collections.abc import Callable

# EX_UNAVAILABLE of sysexits.h: what is to be measured is not installed.
NOT_INSTALLED = 69


def main(run: Callable[[Job, str], Values]) -> None:
    """Do the job named on the command line and print what was measured.

    Args:
        run: does a job in a variant of the contender.
    """
    parser = argparse.ArgumentParser(description="one contender, one job; started by the harness")
    parser.add_argument("job", type=Job.from_json)
    parser.add_argument("--variant", default="")
    parser.add_argument("--cpu", type=int, help="the one CPU for this process and its children")
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    print(json.dumps(run(args.job, args.variant)), flush=True)


def need(package: str) -> None:
    """End the program with a message of one line when the package cannot be imported."""
    try:
        __import__(package)
    except ImportError as error:
        print(f"{package} is not installed ({error}); make bench-peers", file=sys.stderr)
        raise SystemExit(NOT_INSTALLED) from None
