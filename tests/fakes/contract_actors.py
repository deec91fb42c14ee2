"""The actors of the contract suite: one behaviour, as a plain pykka actor and as one of ours."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka

from understudy.supervision.actor import Actor

if TYPE_CHECKING:
    from types import TracebackType


class Peculiar(Exception):
    pass


class Player:
    pykka_traversable = True

    def __init__(self) -> None:
        self.volume = 3

    def play(self, song: str) -> str:
        return f"playing {song}"


class Behaviour:
    """Says what happens to it to `ear`, an actor that the test holds."""

    a_class_attribute = "class"

    def __init__(self, ear: pykka.ActorRef[Any] | None = None, *, word: str = "none") -> None:
        super().__init__()
        self.ear = ear
        self.word = word
        self.seen: list[Any] = []
        self.player = Player()
        self._secret = 1
        self.ran_on_start = False

    def say(self, event: str) -> None:
        if self.ear is not None:
            self.ear.tell({"event": event})

    def on_start(self) -> None:
        self.ran_on_start = True
        if self.word == "fail on_start":
            raise ValueError("no start")
        self.say("on_start")

    def on_stop(self) -> None:
        self.say("on_stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        assert exception_type is not None
        self.say(f"on_failure {exception_type.__name__}: {exception_value}")

    def on_receive(self, message: Any) -> Any:  # noqa: ANN401
        match message:
            case {"command": "raise", "say": str(words)}:
                raise ValueError(words)
            case {"command": "raise base"}:
                raise SystemExit("out of here")
            case {"command": "sleep", "for_s": for_s}:
                self.say("sleeping")
                time.sleep(for_s)
                return "slept"
            case {"command": "stop"}:
                self.stop()  # type: ignore[attr-defined]
                return "stopping"
            case {"command": "seen"}:
                return self.seen
            case {"command": "nothing"}:
                return None
            case _:
                self.seen.append(message)
                return message

    def add(self, a: int, b: int = 1) -> int:
        return a + b

    def fail(self, words: str) -> None:
        raise ValueError(words)

    def fail_peculiarly(self) -> None:
        raise Peculiar("indeed")

    def note(self, event: str) -> None:
        self.say(event)

    def grow(self) -> None:
        self.grown = True

    def items(self) -> list[int]:
        return [1, 2, 3, 4]

    def where(self) -> tuple[int, str]:
        return os.getpid(), threading.current_thread().name

    def myself(self) -> pykka.ActorRef[Any]:
        return self.actor_ref  # type: ignore[attr-defined, no-any-return]

    @property
    def upper(self) -> str:
        return self.word.upper()

    @upper.setter
    def upper(self, value: str) -> None:
        if not value:
            raise ValueError("empty")
        self.word = value.lower()


class PlainActor(Behaviour, pykka.ThreadingActor):
    use_daemon_thread = True


class OurActor(Behaviour, Actor):
    pass
