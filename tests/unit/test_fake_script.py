from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from understudy.fakeapi.conversation import Conversation
from understudy.fakeapi.errors import FakeApiError
from understudy.fakeapi.script import Scenarios, Step, parse_script, scripted_choice

if TYPE_CHECKING:
    from pathlib import Path


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str = "…") -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def tool_result(text: str) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": "t", "content": text}
    return {"role": "user", "content": [block]}


def choose(*messages: dict[str, Any], scenarios: object = None) -> Step | None:
    body = {"messages": list(messages)}
    choice = scripted_choice(Conversation(body), Scenarios(scenarios))
    return choice.step if choice else None


TWO = '@@ [{"text": "one"}, {"text": "two"}] @@'


def test_the_number_of_answers_after_the_script_chooses_the_step() -> None:
    history = [user(f"do {TWO}"), assistant(), tool_result("x"), assistant(), tool_result("y")]
    assert choose(*history[:1]) == Step(text="one")
    assert choose(*history[:3]) == Step(text="two")
    assert choose(*history) == Step(text="end of script")


def test_the_newest_script_decides() -> None:
    assert choose(user(TWO), assistant(), user('@@ {"text": "new"} @@')) == Step(text="new")


def test_the_last_script_of_one_message_decides() -> None:
    assert choose(user(f'{TWO} and @@ {{"text": "last"}} @@')) == Step(text="last")


def test_a_script_in_a_tool_result_is_only_text() -> None:
    assert choose(user("read it"), assistant(), tool_result(TWO)) is None


def test_a_script_may_stand_in_a_block_of_text() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": TWO}]}
    assert choose(message) == Step(text="one")


def test_a_script_is_found_by_name() -> None:
    scenarios = {"greet": [{"text": "hello"}], "one": {"text": "single"}}
    assert choose(user("@@greet@@"), scenarios=scenarios) == Step(text="hello")
    assert choose(user("@@ one @@"), scenarios=scenarios) == Step(text="single")


def test_a_rule_answers_prompts_without_a_script() -> None:
    scenarios = {"rules": [{"match": "deploy.*now", "steps": [{"text": "a"}, {"text": "b"}]}]}
    assert choose(user("deploy it now"), scenarios=scenarios) == Step(text="a")
    assert choose(user("deploy now"), assistant(), scenarios=scenarios) == Step(text="b")
    assert choose(user("wait"), scenarios=scenarios) is None


def test_reminders_are_no_part_of_a_tool_result() -> None:
    text = "42\n\n<system-reminder>\nbe good\n</system-reminder>"
    assert Conversation({"messages": [tool_result(text)]}).newest_tool_result() == "42"


def test_reminders_are_no_text_of_the_user() -> None:
    scenarios = {"rules": [{"match": "deploy", "steps": [{"text": "a"}]}]}
    message = user("<system-reminder>deploy</system-reminder> wait")
    assert choose(message, scenarios=scenarios) is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("@@ [broken] @@", "not JSON"),
        ('@@ {"txt": "a"} @@', "txt"),
        ('@@ {"hang": "long"} @@', r"\$\[0\].hang"),
        ('@@ {"reset": "later"} @@', "later"),
        ("@@nobody@@", "nobody"),
    ],
)
def test_a_script_that_is_wrong_is_answered_with_what_is_wrong(script: str, said: str) -> None:
    step = choose(user(script))
    assert step is not None
    assert step.error == 400
    assert step.message is not None
    assert said.replace("\\", "") in step.message


def test_every_key_of_the_language_is_understood() -> None:
    script = {
        "text": "t", "tool": "Bash", "input": {"command": "id"}, "tools": [["Read", {"p": 1}]],
        "thinking": "h", "usage": {"input_tokens": 1}, "stop_reason": "max_tokens", "error": 529,
        "type": "overloaded_error", "message": "m", "headers": {"retry-after": 2},
        "sse_error": "api_error", "malformed": "json", "reset": "mid", "hang": 1, "at": "headers",
        "delay": 1.5, "slow": 0.1, "pieces": 3, "pings": 1, "times": 2, "then": {"text": "x"},
    }  # fmt: skip
    (step,) = parse_script(json.dumps(script))
    assert step.tools == [("Read", {"p": 1})]
    assert step.recovered == Step(text="x")
    assert set(script) == set(Step.__struct_fields__)


@pytest.mark.parametrize(
    "table",
    [[], {"a": 3}, {"a": [{"nope": 1}]}, {"rules": [{"match": "("}]}, {"rules": {"match": "a"}}],
)
def test_scenarios_that_are_wrong_are_refused(table: object) -> None:
    with pytest.raises(FakeApiError):
        Scenarios(table)


def test_a_rule_that_is_no_expression_is_refused_by_name() -> None:
    table = {"rules": [{"match": "(", "steps": [{"text": "x"}]}]}
    with pytest.raises(FakeApiError, match=r"rule '\('"):
        Scenarios(table)


def test_a_scenario_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for path in (broken, tmp_path / "missing.json"):
        with pytest.raises(FakeApiError) as caught:
            Scenarios.read(path)
        assert str(path) in str(caught.value)
        copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert str(copy) == str(caught.value)


def test_a_scenario_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text('{"a": {"text": "b"}}')
    assert Scenarios.read(path).named("a") == [Step(text="b")]
    assert Scenarios.read(path).named("b") is None


@pytest.mark.parametrize("body", [None, [], {}, {"messages": 3}, {"messages": [3, {"content": 4}]}])
def test_a_malformed_body_reads_as_an_empty_conversation(body: object) -> None:
    conversation = Conversation(body)
    assert conversation.newest_task() == ("", -1)
    assert conversation.newest_tool_result() == ""
    assert scripted_choice(conversation, Scenarios()) is None
