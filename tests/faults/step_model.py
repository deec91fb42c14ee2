"""A model that does tasks of several steps, each of which leaves one line in a file.

It goes by what it sees in the conversation, as a real one does: what has a result is done. Told
that it was cut off, it looks before it does again what may have been in flight, and only then. So
the file shows what nobody could see in the answers: a step that was lost, or was done again because
the conversation went back.
"""

from __future__ import annotations

import collections
import re
import threading
from dataclasses import dataclass, field

from understudy.fakeapi.conversation import Conversation, text_of
from understudy.fakeapi.script import Choice, Step

FILE = "steps"
_ORDER = re.compile(r"Do the (\d+) steps of (\S+)\.")


def order(name: str, steps: int) -> str:
    """The description of such a task; its name is used once."""
    return f"Do the {steps} steps of {name}."


def said_at_the_end(name: str, steps: int) -> str:
    """What it answers once all is done."""
    return f"all {steps} steps of {name} are done"


@dataclass
class StepModel:
    """Answers requests of such tasks; in the server's thread.

    Args:
        thinks_s: how long it takes to answer.
        works_s: how long each step takes.

    Attributes:
        went_back: how often a conversation had fewer steps than before, by how many fewer. By one:
            what the CLI had in hand and had not written when it was killed.
    """

    thinks_s: float = 0.1
    works_s: float = 0.3
    went_back: collections.Counter[int] = field(default_factory=collections.Counter[int])
    _known: dict[str, int] = field(default_factory=dict[str, int])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, conversation: Conversation) -> Choice | None:
        """The next step, or None when the conversation is about something else."""
        found = _ordered(conversation)
        if found is None:
            return None
        index, steps, name = found
        calls = conversation.calls_after(index)
        done = {call.result for call in calls if not call.is_error}
        numbers = [number for number in range(1, steps + 1) if _said(number) not in done]
        self._note(name, steps - len(numbers))
        if not numbers:
            return Choice(Step(text=said_at_the_end(name, steps), delay=self.thinks_s), "the end")
        _, prompted = conversation.newest_task()
        was_cut_off = prompted != index and not conversation.calls_after(prompted)
        return Choice(self._step(numbers[0], looks=was_cut_off), f"step {numbers[0]} of {name}")

    def _step(self, number: int, *, looks: bool) -> Step:
        look = f"grep -sqx {number} {FILE} || " if looks else ""
        command = f"{look}echo {number} >> {FILE}; sleep {self.works_s}; echo {_said(number)}"
        return Step(tool="Bash", input={"command": command}, delay=self.thinks_s)

    def _note(self, name: str, done: int) -> None:
        fewer = self._known.get(name, 0) - done
        if fewer > 0:
            self.went_back[fewer] += 1
        self._known[name] = done


def _said(number: int) -> str:
    return f"did {number}"


def _ordered(conversation: Conversation) -> tuple[int, int, str] | None:
    """Where the task was given, how many steps it has, and its name."""
    for index, message in enumerate(conversation.messages):
        found = _ORDER.search(text_of(message)) if message.get("role") == "user" else None
        if found:
            return index, int(found[1]), found[2]
    return None
