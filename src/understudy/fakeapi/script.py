"""The script language: what a step may say, and which step answers a request.

A script is written into a prompt between two `@@`: a JSON list of steps, one step, or the name of
a script in the scenario file. The server keeps no conversation state: the number of the model's
answers after the message that holds the script is the number of the step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import msgspec

from understudy.fakeapi.conversation import Conversation, text_of
from understudy.fakeapi.errors import FakeApiError
from understudy.fakeapi.quota import Quota, Storm

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = re.compile(r"@@\s*(\[.*?\]|\{.*?\}|[\w.-]+)\s*@@", re.DOTALL)
_END = "end of script"

T = TypeVar("T")
Place = Literal["before", "headers", "mid"]


class Step(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One answer. Keys combine; docs/fake-api.md tells what each does. Times are seconds."""

    text: str | None = None
    tool: str | None = None
    input: dict[str, Any] = {}
    tools: list[tuple[str, dict[str, Any]]] = []
    thinking: str | None = None
    usage: dict[str, int] = {}
    stop_reason: str | None = None

    error: int | None = None
    type: str | None = None
    message: str | None = None
    headers: dict[str, str | int | float] = {}
    sse_error: str | None = None
    malformed: Literal["json", "html", "truncated", "empty"] | None = None
    reset: Place | None = None
    hang: float | None = None
    at: Place = "before"

    delay: float = 0.0
    slow: float = 0.0
    pieces: int | None = None
    pings: float | None = None

    times: int = 0
    then: Step | None = None

    @property
    def recovered(self) -> Step:
        """What is answered once the step has failed `times` times."""
        return self.then or Step(text="recovered")


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    """Steps for every prompt that a regular expression is found in."""

    match: str
    steps: list[Step]


@dataclass(frozen=True)
class Choice:
    """The step that answers a request, and why it was chosen (for the log)."""

    step: Step
    why: str


class Scenarios:
    """Scripts by name, rules for prompts without a script, limits and bad weather.

    Attributes:
        quota: the rate limit, or None.
        storm: errors for a while, or None.

    Raises:
        FakeApiError: a step, a rule or the whole is not what it should be.
    """

    def __init__(self, table: object = None) -> None:
        raw = dict(_convert("scenarios", {} if table is None else table, dict[str, Any]))
        limits, storm = raw.pop("limits", None), raw.pop("storm", None)
        self.quota = _convert("scenarios: limits", limits, Quota) if limits else None
        self.storm = _convert("scenarios: storm", storm, Storm) if storm else None
        self._rules = _convert("scenarios: rules", raw.pop("rules", []), list[Rule])
        self._scripts = {name: _steps(f"scenario {name!r}", raw[name]) for name in raw}
        for rule in self._rules:
            try:
                re.compile(rule.match)
            except re.error as error:
                what = f"rule {rule.match!r}"
                raise FakeApiError(what, f"is no regular expression: {error}", "mend it") from None

    @classmethod
    def read(cls, path: Path) -> Scenarios:
        """The scenarios in a JSON file.

        Raises:
            FakeApiError: the file cannot be read, or does not hold scenarios.
        """
        try:
            return cls(msgspec.json.decode(path.read_bytes()))
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise FakeApiError(str(path), reason, "name another file") from None
        except msgspec.DecodeError as error:
            raise FakeApiError(str(path), f"is not JSON: {error}", "mend it") from None

    def named(self, name: str) -> list[Step] | None:
        """The script of that name, or None."""
        return self._scripts.get(name)

    def ruled(self, text: str) -> Rule | None:
        """The first rule that fits the text, or None."""
        return next((rule for rule in self._rules if re.search(rule.match, text)), None)


def scripted_choice(conversation: Conversation, scenarios: Scenarios) -> Choice | None:
    """What the newest script or the first fitting rule says; None when there is neither."""
    for index in range(len(conversation.messages) - 1, -1, -1):
        message = conversation.messages[index]
        found = _SCRIPT.findall(text_of(message)) if message.get("role") == "user" else []
        if found:
            return _play(found[-1], conversation.answers_after(index), scenarios)
    text, index = conversation.newest_task()
    if rule := scenarios.ruled(text):
        number = conversation.answers_after(index)
        return Choice(_pick(rule.steps, number), f"rule {rule.match!r} step {number}")
    return None


def _play(source: str, number: int, scenarios: Scenarios) -> Choice:
    try:
        steps = parse_script(source) if source[0] in "[{" else scenarios.named(source)
    except FakeApiError as error:
        return Choice(Step(error=400, message=str(error)), "bad script")
    if steps is None:
        return Choice(Step(error=400, message=f"no scenario {source!r}"), "unknown name")
    return Choice(_pick(steps, number), f"script step {number}")


def parse_script(source: str) -> list[Step]:
    """The steps of a script as it stands in a prompt.

    Raises:
        FakeApiError: it is not JSON, or no list of steps; the message says which key is wrong.
    """
    try:
        data = msgspec.json.decode(source)
    except msgspec.DecodeError as error:
        raise FakeApiError("the script in the prompt", f"is not JSON: {error}", "mend it") from None
    return _steps("the script in the prompt", data)


def _steps(what: str, data: object) -> list[Step]:
    steps: object = [cast("object", data)] if isinstance(data, dict) else data
    return _convert(what, steps, list[Step])


def _convert(what: str, data: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise FakeApiError(what, f"is wrong: {error}", "see docs/fake-api.md") from None


def _pick(steps: list[Step], number: int) -> Step:
    return steps[number] if number < len(steps) else Step(text=_END)
