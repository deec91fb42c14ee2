"""A node with one actor, for tests that kill it, hold it and let it ask others."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from understudy.transport import MailboxActor, MailboxSpec, Node

ROOMY = MailboxSpec(max_messages=200_000, max_bytes=1 << 30)


class Target(MailboxActor):
    mailbox = ROOMY

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        match message:
            case {"nap": float(seconds)}:
                time.sleep(seconds)
            case _:
                pass
        return message

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def tell_many(self, other: Any, count: int, label: str) -> None:
        for number in range(count):
            other.tell([label, number])

    def ask_many(self, other: Any, count: int) -> int:
        return sum(other.ask(number, timeout=10) == number for number in range(count))

    def got_count(self) -> int:
        return len(self.got)


def main() -> None:
    folder, name, incarnation = sys.argv[1:4]
    node = Node(name, folder, incarnation=int(incarnation))
    node.host(Target.start(), actor_id="a")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
