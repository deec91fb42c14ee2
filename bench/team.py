"""How long a question from one agent to another takes, beside the CLIs' own work.

`python -m bench.team` has one agent ask another, one question after the other, both with warm CLIs
in containers of their own; the model is scripted. From the moment the asker's CLI has made its
call until the answer is written to it, less the turn of the CLI that was asked (from its prompt
written to its result read), everything is ours: bus, root, store, dispatch, workspace.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.fleet.measure import use_model, wait_until_ready
from bench.machine import machine
from understudy import Orchestrator, Task
from understudy.fakeapi import FakeApiThread

_GOAL_MS = 15.0
# Between two questions, so that both agents are idle and warm when the next one comes.
_PAUSE_S = 0.3
_CALL = re.compile(r"a tool call took ([0-9.]+) s")
_TURN = re.compile(r"the CLI's turn took ([0-9.]+) s")


def script(questions: int) -> dict[str, Any]:
    """What the model says: so many questions, each answered at once."""
    asked = {"to": "agent_001", "question": "Q-BENCH"}
    ask = {"tool": "mcp__bus__ask_agent", "input": asked, "delay": _PAUSE_S}
    steps = [*([ask] * questions), {"text": "done"}]
    return {"asks": steps, "rules": [{"match": "Q-BENCH", "steps": [{"text": "an answer"}]}]}


def asked(questions: int, folder: Path) -> None:
    """Have the questions asked; what each took is in the agents' logs."""
    settings = {
        "orchestrator.num_agents": 2,
        "orchestrator.log_level": "DEBUG",
        "agent.warm_for": "question",
        "agent.max_turns": questions + 5,
        "team.max_tasks": questions,
        "storage.state_dir": str(folder),
    }
    with Orchestrator(overrides=settings) as fleet:
        wait_until_ready(fleet)
        task = Task(description="@@asks@@", agent="agent_000", timeout=600.0)
        result = fleet.execute_task(task)
        assert result.status == "success", result.error


def durations(log: Path, pattern: re.Pattern[str]) -> list[float]:
    """What a log says, in milliseconds."""
    return [float(found) * 1e3 for found in pattern.findall(log.read_text(encoding="utf-8"))]


def measure(questions: int) -> dict[str, Any]:
    """Our part of each question, in milliseconds."""
    folder = tempfile.TemporaryDirectory(prefix="us-bench-")
    with folder as name, FakeApiThread(script(questions)) as api:
        use_model(api.url)
        asked(questions, Path(name))
        calls = durations(Path(name) / "logs" / "agent_000.log", _CALL)
        turns = durations(Path(name) / "logs" / "agent_001.log", _TURN)
    assert len(calls) == len(turns) == questions, (len(calls), len(turns))
    ours = sorted(call - turn for call, turn in zip(calls, turns, strict=True))
    return {
        "what": "ask_agent, our part",
        "questions": questions,
        "ours_p50_ms": round(statistics.median(ours), 2),
        "ours_p90_ms": round(ours[int(len(ours) * 0.9)], 2),
        "ours_min_ms": round(ours[0], 2),
        "ours_max_ms": round(ours[-1], 2),
        "whole_p50_ms": round(statistics.median(calls), 2),
        "turn_of_the_asked_cli_p50_ms": round(statistics.median(turns), 2),
        "goal_p50_ms": _GOAL_MS,
        "machine": machine(),
    }


def main() -> None:
    """Parse the command line, measure, print one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.team", description=__doc__)
    parser.add_argument("--questions", type=int, default=50)
    args = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    print(json.dumps(measure(args.questions)), flush=True)


if __name__ == "__main__":
    main()
