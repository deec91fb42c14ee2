"""Actors for the tests of the actor system."""

# ruff: noqa: ANN401 - messages are anything

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pykka

from understudy.supervision.actor import Actor
from understudy.supervision.member import current_system
from understudy.supervision.watch import Down
from understudy.transport import MailboxSpec, Overflow
from understudy.transport.errors import DeadlockError


def await_file(folder: str, name: str) -> None:
    ends = time.monotonic() + 30
    while not Path(folder, name).exists() and time.monotonic() < ends:
        time.sleep(0.002)


class Held(Actor):
    """Answers with the message; one that names a file waits until it is there."""

    def on_receive(self, message: Any) -> Any:
        if "until" in message:
            await_file(*os.path.split(message["until"]))
        return message


class Worker(Actor):
    """Does what it is told, by proxy."""

    def __init__(self, *words: Any, fail_file: str = "") -> None:
        super().__init__()
        self.words = list(words)
        self.downs: list[list[Any]] = []
        self._fail_file = fail_file

    def on_start(self) -> None:
        if self._fail_file and os.path.exists(self._fail_file):  # noqa: PTH110
            raise RuntimeError("there is the file")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Down):
            self.downs.append(
                [message.ref, message.reason, message.exit.signal, message.incarnation]
            )
            return None
        return message

    def pid(self) -> int:
        return os.getpid()

    def incarnation(self) -> int:
        return self.system.node.incarnation

    def spawn(self, name: str, *, process: bool) -> pykka.ActorRef[Any]:
        return current_system().spawn(Worker, process=process, name=name)

    def spawn_with(self, name: str, size_bytes: int) -> pykka.ActorRef[Any]:
        return self.system.spawn(Worker, b"x" * size_bytes, process=True, name=name)

    def die_before_the_start(self, name: str) -> None:
        """Take a name for a child as `spawn` does, and be killed before it asks for the start."""
        system: Any = self.system
        with system._claimed(Worker, name, process=True):
            os.kill(os.getpid(), signal.SIGKILL)

    def find(self, name: str) -> pykka.ActorRef[Any]:
        return self.system.find(name)

    def ask_other(self, other: pykka.ActorRef[Any]) -> Any:
        return other.ask("hello", timeout=20)

    def proxy_ask(self, other: pykka.ActorRef[Any], delay_s: float = 0.0) -> Any:
        """Ask so that the call chain is not known: by a future."""
        time.sleep(delay_s)
        return other.ask("hello", block=False, timeout=20).get(timeout=20)

    def proxy_ask_together(self, other: pykka.ActorRef[Any], folder: str, name: str) -> Any:
        """Say by a file of that name that it is here; ask as `proxy_ask` once there is a `go`."""
        Path(folder, name).touch()
        await_file(folder, "go")
        return self.proxy_ask(other)

    def ask_recovering(self, other: pykka.ActorRef[Any], folder: str) -> Any:
        """Ask an `AsksBack` while it is in its next start."""
        await_file(folder, "recovers")
        Path(folder, "asks").touch()
        return other.ask("hello", timeout=20)

    def send_round(self, refs: list[pykka.ActorRef[Any]]) -> Any:
        """Ask the first to ask the next, and so on."""
        first, *rest = refs
        if not rest:
            return first.ask("hello", timeout=20)
        return first.ask({"round": rest}, timeout=20)

    def see(self, other: pykka.ActorRef[Any]) -> None:
        self.watch(other)

    def unsee(self, other: pykka.ActorRef[Any]) -> None:
        self.unwatch(other)

    def see_and_unsee(self, dead: pykka.ActorRef[Any]) -> None:
        """Withdraw a watch when its `Down` is in the mailbox already."""
        self.watch(dead)
        while not len(self.actor_inbox):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            time.sleep(0.001)
        self.unwatch(dead)

    def tie(self, other: pykka.ActorRef[Any]) -> None:
        self.link(other)

    def untie(self, other: pykka.ActorRef[Any]) -> None:
        self.unlink(other)

    def get_downs(self) -> list[list[Any]]:
        return self.downs

    def sleep(self, for_s: float) -> None:
        time.sleep(for_s)

    def wait_for_file(self, folder: str) -> str:
        """Be busy until there is a file `go`."""
        Path(folder, "busy").touch()
        await_file(folder, "go")
        return "done"

    def fail(self) -> None:
        raise RuntimeError("as told")

    def exit(self, code: int) -> None:
        os._exit(code)

    def wait_for_permit(self, other: pykka.ActorRef[Any], folder: str) -> None:
        with self.system.waits("permit", other):
            self.wait_for_file(folder)

    def wait_for_human(self, folder: str) -> None:
        with self.system.waits("answer", "human"):
            self.wait_for_file(folder)


class Chained(Worker):
    """Passes a round on."""

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, dict) and "round" in message:
            return self.send_round([*message["round"]])
        return super().on_receive(message)


class Choosy(Worker):
    """Keeps the newest two of what waits."""

    mailbox = MailboxSpec(max_messages=2, overflow=Overflow.DROP_OLDEST)

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)

    def get_got(self) -> list[Any]:
        return self.got

    def hold(self, folder: str) -> None:
        """Take nothing until there is a file `go` in the folder; `held` says that it is so."""
        Path(folder, "held").touch()
        await_file(folder, "go")

    def tell_itself_things(self) -> None:
        """Three messages that are no data, for two places."""
        for _ in range(3):
            self.actor_ref.tell(object())


class HoldsALock(Worker):
    """Has a resource until its `on_stop` is through, which takes until there is a file `go`."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def on_start(self) -> None:
        Path(self._folder, "lock").touch()

    def on_stop(self) -> None:
        Path(self._folder, "stopping").touch()
        await_file(self._folder, "go")
        Path(self._folder, "lock").unlink()


class Trapping(Worker):
    trap_links = True


class Failing(Worker):
    def __init__(self) -> None:
        super().__init__()
        raise LookupError("no such luck")


class CountsStarts(Worker):
    def __init__(self, path: str) -> None:
        super().__init__()
        with Path(path).open("a") as file:
            file.write("start\n")
        raise LookupError("no such luck")


class StartsSlowly(Worker):
    def on_start(self) -> None:
        time.sleep(5)


class AsksItsParent(Worker):
    """In its start, asks who waits for its start."""

    def on_start(self) -> None:
        self.words[0].ask("hello", timeout=20)


class AsksBack(Worker):
    """When it has fallen, asks in its next start who is about to ask it: see `ask_recovering`."""

    def on_start(self) -> None:
        if self.incarnation() == 1:
            return
        asker, folder = self.words
        Path(folder, "recovers").touch()
        await_file(folder, "asks")
        try:
            self.downs.append(asker.ask("hello", timeout=20))
        except DeadlockError:
            Path(folder, "refused").touch()
            raise


class Plain(pykka.ThreadingActor):
    use_daemon_thread = True

    def pid(self) -> int:
        return os.getpid()

    def sleep(self, for_s: float) -> None:
        time.sleep(for_s)


class SaysGoodbye(Worker):
    def __init__(self, boss: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self.boss = boss

    def on_stop(self) -> None:
        self.boss.tell({"bye": self.actor_ref})


class Spawning(Worker):
    def spawn_child(self) -> None:
        self.system.spawn(AsksItsParent, self.actor_ref, process=True)
