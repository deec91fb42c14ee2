"""The client against what both releases really said: recorded conversations, played again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.conversations import FOLDER, Conversations, PlayedRecord

from understudy.actors.claude import client as client_module
from understudy.actors.releases import DEFAULT_CLI_VERSION, OLDEST_CLI_VERSION

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = sorted(FOLDER.glob("*.jsonl"))


def test_there_is_a_record_of_both_releases() -> None:
    assert [path.stem for path in RECORDS] == sorted([OLDEST_CLI_VERSION, DEFAULT_CLI_VERSION])


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_recorded_conversation_goes_as_it_went(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one interrupt of the record, on a busy machine too.
    monkeypatch.setattr(client_module, "_INTERRUPT_AGAIN_S", 10.0)
    monkeypatch.setattr(client_module, "INTERRUPT_GRACE_S", 10.0)
    conversations, played = Conversations(), PlayedRecord(path)
    played.start()
    try:
        with played.connect(**conversations.options) as client:
            conversations.play(client)
    finally:
        played.close()
    assert played.wrong == []
    # Nothing of what the CLI said is lost, whatever it may mean.
    kinds = {event["type"] for event in conversations.events}
    assert {"system", "assistant", "user", "result"} <= kinds
