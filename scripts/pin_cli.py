"""Move to the release of Claude Code that actors/releases.py pins.

Builds its image, records its conversations, shows in which fields of which lines they differ from
those of the release before, and runs the tests that concern the CLI.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parents[1]
RECORDS = HERE / "tests" / "data" / "transcripts"
TESTS = (
    "tests/unit/test_transcript_replay.py",
    "tests/unit/test_config.py",
    "tests/container",
    "tests/e2e/test_both_releases.py",
    "tests/e2e/test_resume.py",
)


def main() -> None:
    """Move, or end with the exit code of what failed."""
    before = [path for path in RECORDS.glob("*.jsonl") if path.stem != OLDEST_CLI_VERSION]
    known = {path.stem: fields_of(path) for path in before}
    run("-m", "understudy", "image", "build", "--version", DEFAULT_CLI_VERSION)
    tell_in_the_docs()
    run(
        "-m", "pytest", "tests/container/test_transcripts.py", "-k", "pinned", UNDERSTUDY_RECORD="1"
    )
    for path in before:
        if path.stem != DEFAULT_CLI_VERSION:
            path.unlink()
            compare(known[path.stem], path.stem)
    run("-m", "pytest", *TESTS)


def tell_in_the_docs() -> None:
    """Put the default's value into the table of settings."""
    page = HERE / "docs" / "configuration.md"
    row = re.sub(
        r"(?m)^(\| `cli_version` \| )`[^`]+`", rf"\1`{DEFAULT_CLI_VERSION}`", page.read_text()
    )
    page.write_text(row)


def fields_of(path: Path) -> dict[str, set[str]]:
    """The paths of the fields of each kind of line that the CLI wrote."""
    fields: dict[str, set[str]] = defaultdict(set)
    for entry in map(json.loads, path.read_text().splitlines()):
        line: dict[str, Any] = entry["line"]
        if entry["from"] == "cli":
            kind = " ".join(filter(None, (line["type"], line.get("subtype"))))
            fields[kind] |= set(paths(line))
    return fields


def paths(value: object) -> Iterator[str]:
    """`a`, `a.b`, `a.list.c` for each field in a piece of JSON."""
    if isinstance(value, list):
        for each in cast("list[object]", value):
            yield from paths(each)
    elif isinstance(value, dict):
        for name, each in cast("dict[str, object]", value).items():
            yield name
            yield from (f"{name}.{path}" for path in paths(each))


def compare(before: dict[str, set[str]], release: str) -> None:
    """Print what the pinned release says otherwise than the one before."""
    now = fields_of(RECORDS / f"{DEFAULT_CLI_VERSION}.jsonl")
    print(f"{release} -> {DEFAULT_CLI_VERSION}, fields of the CLI's lines:")
    lines = [
        f"  {kind}: {sign}{path}"
        for kind in sorted(before.keys() | now.keys())
        for sign, left, right in (("+", now, before), ("-", before, now))
        for path in sorted(left.get(kind, set()) - right.get(kind, set()))
    ]
    print("\n".join(lines or ["  the same"]))


def run(*arguments: str, **env: str) -> None:
    """Run Python with these arguments in the project; end when it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=HERE, env={**os.environ, **env}, check=False
    )
    if done.returncode != 0:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
