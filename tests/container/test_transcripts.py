"""The recorded conversations are what the releases say today.

`make pin` writes that of the pinned release anew (`UNDERSTUDY_RECORD=1`).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from fakes.conversations import FOLDER, Conversations, Tap, scrubbed, shape
from fakes.real_cli import Cli

from understudy.actors.claude import ClaudeClient

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.podman


@pytest.mark.parametrize("fixture", ["agent_image", "old_agent_image"], ids=["pinned", "oldest"])
def test_a_release_says_what_was_recorded(
    tmp_path: Path, fixture: str, request: pytest.FixtureRequest
) -> None:
    image: str = request.getfixturevalue(fixture)
    conversations = Conversations()
    with Cli(tmp_path, image, conversations.role, connect=False) as cli:
        container = cli.container
        tap = Tap(container.stdin, container.stdout)
        with ClaudeClient(tap.stdin, tap.stdout, container.stderr, **conversations.options) as us:
            conversations.play(us)
            container.kill()
        tap.close()
    path = FOLDER / f"{image.rpartition(':')[2]}.jsonl"
    if os.environ.get("UNDERSTUDY_RECORD"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in scrubbed(tap.lines)))
    recorded = [json.loads(line) for line in path.read_text().splitlines()]
    said = {shape(entry["from"], entry["line"]) for entry in tap.lines}
    assert said == {shape(entry["from"], entry["line"]) for entry in recorded}
