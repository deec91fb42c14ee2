"""The actors of the contract suite: one behaviour, as a plain pykka actor and as one of ours."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pykka

from understudy.supervision.actor import Actor

if TYPE_CHECKING:
    from types import TracebackType

# A test that does not come to its end leaves nobody busy for good.
_HELD_S = 30.0


class Peculiar(Exception):
    pass


class Player:
    pykka_traversable = True

    def __init__(self) -> None:
        self.volume = 3

    def play(self, song: str) -> str:
        return f"playing {song}"


class Bristly:
    """Has an opinion on equality."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared with nobody")


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
        self.was_registered = False
        self.looks = 0
        self.plain_part = {"deep": 1}

    def say(self, event: str) -> None:
        if self.ear is not None:
            self.ear.tell({"event": event})

    def on_start(self) -> None:
        self.ran_on_start = True
        mine = self.myself()
        self.was_registered = pykka.ActorRegistry.get_by_urn(mine.actor_urn) is mine
        match self.word:
            case "fail on_start":
                raise ValueError("no start")
            case "stop in on_start":
                self.stop()  # type: ignore[attr-defined]
            case "mirror":
                self.mirror = mine.proxy()
                self.bristly = Bristly()
            case _:
                self._later = mine.proxy()
        self.say("on_start")

    def on_stop(self) -> None:
        urn = self.myself().actor_urn
        self.say(f"{urn} ends" if self.word == "last words" else "on_stop")
        if self.word == "fail on_stop":
            raise ValueError("no stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        assert exception_type is not None
        self.say(f"on_failure {exception_type.__name__}: {exception_value}")
        if self.word == "fail on_failure":
            raise ValueError("no failure")

    def on_receive(self, message: Any) -> Any:  # noqa: ANN401
        match message:
            case {"command": "raise", "say": str(words)}:
                raise ValueError(words)
            case {"command": "raise base"}:
                raise SystemExit("out of here")
            case {"command": "hold", "folder": folder, "behind": behind}:
                return self._hold(folder, behind)
            case {"command": "stop"}:
                self.stop()  # type: ignore[attr-defined]
                return "stopping"
            case {"command": "stop twice"}:
                self.stop()  # type: ignore[attr-defined]
                self.stop()  # type: ignore[attr-defined]
                return "stopping"
            case {"command": "seen"}:
                return self.seen
            case {"command": "nothing"}:
                return None
            case _:
                self.seen.append(message)
                return message

    def _hold(self, folder: str | None, behind: int) -> str:
        """Busy until the file `go` is there, or until so many messages wait."""
        self.say("sleeping")
        ends = time.monotonic() + _HELD_S
        while (folder and not Path(folder, "go").exists()) or self._waiting() < behind:
            assert time.monotonic() < ends, "nobody woke it"
            time.sleep(0.001)
        return "slept"

    def _waiting(self) -> int:
        inbox = cast("Any", self.actor_inbox)  # type: ignore[attr-defined]
        return inbox.qsize() if hasattr(inbox, "qsize") else len(inbox)

    def add(self, a: int, b: int = 1) -> int:
        return a + b

    def fail(self, words: str) -> None:
        raise ValueError(words)

    def fail_peculiarly(self) -> None:
        raise Peculiar("indeed")

    def note(self, event: str) -> None:
        self.say(event)

    def note_later(self, event: str) -> None:
        self._later.note(event)
        self.say("first")

    def grow(self) -> None:
        self.grown = True
        self.sing = lambda: "la"

    def get_future(self) -> pykka.Future[int]:
        return self._later.add(1)  # type: ignore[no-any-return]

    def items(self) -> list[int]:
        return [1, 2, 3, 4]

    def where(self) -> tuple[int, str]:
        return os.getpid(), threading.current_thread().name

    def myself(self) -> pykka.ActorRef[Any]:
        return self.actor_ref  # type: ignore[attr-defined, no-any-return]

    @property
    def looked(self) -> int:
        self.looks += 1
        return self.looks

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
