"""A conversation that was cut off while the API was tried again, and then once more."""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from fakes.real_cli import TURN_S, Cli

from understudy.actors.claude import ClaudeDied
from understudy.actors.claude.argv import CliRole
from understudy.actors.claude.resume_point import move_forward
from understudy.actors.claude.transcript_file import PROJECT_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.podman

ROLE = CliRole(("Bash",), model="claude-sonnet-4-5")
FAILS = {"error": 529}


def run(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}}


class Talk:
    """One conversation, with one CLI after the other, each killed in the middle."""

    def __init__(self, root: Path, image: str) -> None:
        self.root, self._image = root, image
        self._session = str(uuid.uuid4())
        self._resume = False

    @property
    def transcript(self) -> Path:
        return self.root.joinpath("home", *PROJECT_PARTS) / f"{self._session}.jsonl"

    def cut(self, *steps: dict[str, Any], when: Callable[[], bool]) -> None:
        """A turn whose CLI is killed as soon as that is so."""
        with self._cli(self.root) as cli:

            def kill() -> None:
                wait_for(when)
                cli.container.kill()

            killer = threading.Thread(target=kill, name="understudy-test")
            killer.start()
            with pytest.raises(ClaudeDied):
                cli.turn(*steps)
            killer.join()
        self._resume = True

    def move_forward(self) -> bool:
        return move_forward(self.root / "home", self._session)

    def resumed(self, root: Path) -> str:
        """What a CLI that goes on with the home in `root` asks the model."""
        with self._cli(root) as cli:
            cli.turn({"text": "on"})
            return json.dumps(cli.api.requests[0]["body"]["messages"])

    def says(self, kind: str, words: str = "") -> bool:
        return any(
            record.get("type") == kind and words in json.dumps(record)
            for record in records(self.transcript)
        )

    def _cli(self, root: Path) -> Cli:
        return Cli(
            root,
            self._image,
            ROLE,
            session_id=self._session,
            resume=self._resume,
            CLAUDE_CODE_MAX_RETRIES="9",
        )


def records(transcript: Path) -> list[dict[str, Any]]:
    """Those that are whole."""
    found = transcript.read_text().split("\n")[:-1] if transcript.exists() else []
    return [json.loads(line) for line in found if line]


def wait_for(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(int(TURN_S / 0.02)):
        if condition():
            return
        tick.wait(0.02)


def note_a_failed_try(transcript: Path) -> None:
    """As 2.1.332 does by itself after some tries: the try, and that it is the last message."""
    known = records(transcript)
    if any(record["type"] == "last-prompt" for record in known):
        return
    newest = next(record for record in reversed(known) if record.get("uuid"))
    names = ("isSidechain", "sessionId", "version", "cwd", "timestamp")
    a_try = {
        "parentUuid": newest["uuid"],
        "type": "system",
        "subtype": "api_error",
        "uuid": str(uuid.uuid4()),
        **{name: newest[name] for name in names},
    }
    pointer = {
        "type": "last-prompt",
        "lastPrompt": "x",
        "leafUuid": a_try["uuid"],
        "sessionId": newest["sessionId"],
    }
    with transcript.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in (a_try, pointer))


@pytest.mark.parametrize("fixture", ["agent_image", "old_agent_image"], ids=["pinned", "oldest"])
def test_a_conversation_that_was_cut_off_in_tries_of_the_api_goes_on_from_its_newest_message(
    tmp_path: Path, fixture: str, request: pytest.FixtureRequest
) -> None:
    image: str = request.getfixturevalue(fixture)
    talk = Talk(tmp_path / "1", image)
    pinned = fixture == "agent_image"
    # The oldest release notes no failed try; it goes by what another one noted.
    noted = (lambda: failed_try_is_noted(talk)) if pinned else (lambda: talk.says("user", "ONE"))
    talk.cut(run("echo ONE"), FAILS, when=noted)
    note_a_failed_try(talk.transcript)
    talk.cut(run("printf T; echo WO"), FAILS, when=lambda: talk.says("user", "TWO"))
    unmended = tmp_path / "2"
    shutil.copytree(talk.root, unmended, ignore=shutil.ignore_patterns("s"))
    give(talk.root, unmended)
    assert talk.move_forward()
    assert "TWO" in talk.resumed(talk.root)
    # What it is for: when this fails, releases go on from the newest message by themselves.
    assert "TWO" not in talk.resumed(unmended)
    assert not talk.move_forward()


def failed_try_is_noted(talk: Talk) -> bool:
    known = records(talk.transcript)
    tries = {record["uuid"] for record in known if record.get("subtype") == "api_error"}
    pointers = [record["leafUuid"] for record in known if record["type"] == "last-prompt"]
    return bool(pointers) and pointers[-1] in tries


def give(to: Path, copied: Path) -> None:
    """The copy belongs to whoever has what it was made of."""
    owner = (to / "home").stat()
    for path in [copied / "home", *(copied / "home").rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
