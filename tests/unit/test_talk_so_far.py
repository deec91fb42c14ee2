from __future__ import annotations

from typing import Any

from understudy.actors.talk_so_far import TalkSoFar


def answer(text: str, **more: object) -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}, **more}


def test_the_turns_of_a_run_are_counted_together() -> None:
    talk = TalkSoFar()
    for cost_usd in (0.25, 0.5):
        talk.count({"usage": {"input_tokens": 3}, "num_turns": 2}, cost_usd)
    assert (talk.usage.input_tokens, talk.usage.num_turns, talk.cost_usd) == (6, 4, 0.75)
    talk.count({}, None)
    talk.count({}, 1.0)
    assert talk.cost_usd is None


def test_the_last_words_are_the_models_own() -> None:
    talk = TalkSoFar()
    talk.note(answer("Prompt is too long", error="invalid_request"))
    assert not talk.has_answers
    for number in range(20):
        talk.note(answer(f"{number}"))
    assert talk.has_answers
    assert talk.last_said() == [str(number) for number in range(12, 20)]


def test_the_newest_word_on_compacting_counts() -> None:
    talk = TalkSoFar()
    for said, compacted in (("failed", False), ("success", True), ("failed", False)):
        talk.note({"type": "system", "subtype": "status", "compact_result": said})
        assert talk.compacted is compacted
