"""A client that was given a name says later what it is called."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .errors import HelloRefused
from .hello import Hello, Welcome

if TYPE_CHECKING:
    from collections.abc import Mapping


class NameClaim:
    """What a client is called, and the question that it asks about that. Any thread.

    Args:
        name: that it asked for at first; None: it was given one.
        incarnation: the number of its start.
    """

    def __init__(self, name: str | None, incarnation: int) -> None:
        self.is_chosen = name is not None
        self._incarnation = incarnation
        self._answered = threading.Event()
        self._hello: Hello | None = None
        self._refusal: HelloRefused | None = None

    def ask(self, name: str) -> dict[str, Any]:
        """The hello to send."""
        self.is_chosen = True
        self._hello = Hello(name, self._incarnation)
        return self._hello.to_record()

    def answer(self, record: Mapping[str, Any]) -> Welcome | None:
        """The welcome that this record is, when it answers the hello."""
        if self._hello is None or self._answered.is_set():
            return None
        welcome = None
        if record.get("link") in ("welcome", "farewell"):
            try:
                welcome = Welcome.from_record(record, self._hello)
            except HelloRefused as error:
                self._refusal = error
        return welcome

    def settle(self) -> None:
        """The client goes by its name now."""
        self._answered.set()

    def wait(self, timeout_s: float) -> bool:
        """Whether it was answered within that time.

        Raises:
            HelloRefused: with a no.
        """
        is_answered = self._answered.wait(timeout_s)
        if self._refusal is not None:
            raise self._refusal
        return is_answered
