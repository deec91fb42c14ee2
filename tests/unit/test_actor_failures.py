# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false
# A fault test looks at what is inside; pykka types what a future holds as unknown.
from __future__ import annotations

import threading
from typing import Any

import msgpack
import pykka
import pytest

from understudy.transport import (
    ActorLost,
    AskFuture,
    DeadLetters,
    MailboxFull,
    RemoteError,
    failures,
    register_exception,
)


def is_data(value: object) -> bool:
    try:
        msgpack.packb(value)
    except TypeError:
        return False
    return True


def travelled(error: BaseException) -> Exception:
    return failures.from_wire(msgpack.unpackb(msgpack.packb(failures.to_wire(error, is_data))))


class Registered(Exception):
    pass


class Picky(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)
        self.two = two


class Wordy(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code is {code}")
        self.code = code


class SocketTrouble(ConnectionResetError):
    def __init__(self, number: int, words: str, path: str) -> None:
        super().__init__(number, words, path)
        self.path = path


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_known_classes_come_back_as_themselves_with_their_fields() -> None:
    full = travelled(MailboxFull("box", 3, 4))
    assert isinstance(full, MailboxFull)
    assert (full.mailbox, full.messages, full.size_bytes) == ("box", 3, 4)
    lost = travelled(ActorLost("x", "died", maybe_executed=True))
    assert isinstance(lost, pykka.ActorDeadError)
    assert isinstance(lost, ActorLost)
    assert lost.maybe_executed


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Picky(1, 2)], ids=repr)
def test_all_others_come_back_as_a_description(error: BaseException) -> None:
    back = travelled(error)
    assert isinstance(back, RemoteError)
    assert back.type_name.endswith(type(error).__qualname__)
    # What passes on a second time is not wrapped again.
    again = travelled(back)
    assert isinstance(again, RemoteError)
    assert again.type_name == back.type_name


def test_a_registered_class_comes_back_as_itself() -> None:
    assert isinstance(travelled(Registered("x")), RemoteError)
    register_exception(Registered)
    back = travelled(Registered("x", 2))
    assert isinstance(back, Registered)
    assert back.args == ("x", 2)


def test_a_class_that_cannot_be_made_from_its_args_is_described() -> None:
    back = travelled(ExceptionGroup("both", [ValueError(1)]))
    assert isinstance(back, RemoteError)
    assert back.message == "both (1 sub-exception)"


def test_a_rebuilt_exception_has_args_and_fields_of_the_original_whatever_its_constructor() -> None:
    register_exception(Wordy)
    back = travelled(Wordy(42))
    assert isinstance(back, Wordy)
    assert str(back) == "code is 42"
    assert back.code == 42
    assert isinstance(travelled(back), Wordy)


def test_lists_and_tuples_stay_what_they_were() -> None:
    error = ValueError([1, 2], (3, 4))
    error.add_note("look there")
    error.__dict__.update(pair=(5, 6), several=[7, 8], words=(object(),))
    back = travelled(error)
    assert back.args == ([1, 2], (3, 4))
    assert str(vars(back).pop("words")).startswith("(<object object")
    assert vars(back) == {"__notes__": ["look there"], "pair": (5, 6), "several": [7, 8]}


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory", "/nope"),
        OSError(18, "Invalid cross-device link", "/one", None, "/two"),
        OSError("without a number"),
        SocketTrouble(104, "Connection reset by peer", "/a.sock"),
    ],
    ids=repr,
)
def test_errors_of_the_system_keep_number_words_and_files(error: OSError) -> None:
    register_exception(SocketTrouble)
    back = travelled(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    for name in ("args", "errno", "strerror", "filename", "filename2"):
        assert getattr(back, name) == getattr(error, name)


def test_a_description_has_the_fields_also_when_it_is_passed_on() -> None:
    back = travelled(Picky(1, 2))
    assert isinstance(back, RemoteError)
    assert back.fields == {"two": 2}
    again = travelled(back)
    assert isinstance(again, RemoteError)
    assert again.fields == {"two": 2}


def test_what_an_exception_carries_that_is_no_data_comes_as_words() -> None:
    back = travelled(ValueError(object(), 5))
    assert isinstance(back, ValueError)
    assert back.args[0].startswith("<object object")
    assert travelled(ValueError(Unprintable())).args == ("<Unprintable that cannot be printed>",)


@pytest.mark.parametrize(
    "described",
    [
        None,
        3,
        {},
        {"type": 5, "args": "x"},
        {"type": "builtins:ValueError", "args": None, "fields": [1], "tuples": 3},
    ],
    ids=repr,
)
def test_any_description_becomes_an_exception(described: Any) -> None:
    assert isinstance(failures.from_wire(described), RemoteError)


def test_dead_letters_are_counted_kept_and_sent_again() -> None:
    letters = DeadLetters(kept=3)
    for number in range(5):
        letters.add("a", number, "stopped" if number % 2 else "unknown")
    assert letters.counts() == {"unknown": 3, "stopped": 2}
    assert [letter.message for letter in letters.letters()] == [2, 3, 4]
    sent: list[Any] = []
    assert letters.replay(sent.append, lambda letter: letter.reason == "unknown") == 2
    assert [letter.message for letter in sent] == [2, 4]
    assert [letter.message for letter in letters.letters()] == [3]


def test_a_letter_that_cannot_be_sent_again_is_kept() -> None:
    letters = DeadLetters()
    letters.add("a", 1, "stopped")

    def send(_letter: object) -> None:
        raise pykka.ActorDeadError("still gone")

    with pytest.raises(pykka.ActorDeadError):
        letters.replay(send)
    assert len(letters) == 1


def test_a_storm_of_dead_letters_is_ten_lines_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    letters = DeadLetters(clock=lambda: now[0])
    for _ in range(1_000):
        letters.add("a", 1, "stopped")
    assert len(caplog.records) == 10
    now[0] = 61.0
    letters.add("a", 1, "stopped")
    assert caplog.records[-1].getMessage().endswith("(and 990 before it, not logged)")


def test_a_future_takes_the_first_answer_and_keeps_it() -> None:
    future = AskFuture()
    future.set(1)
    future.set(2)
    future.set_exception((ValueError, ValueError("late"), None))
    assert future.get() == 1


def test_a_future_that_is_not_set_ends_in_a_timeout_or_at_its_deadline() -> None:
    future = AskFuture()
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0.01)
    future.set("after all")
    assert future.get(timeout=0) == "after all"
    late = AskFuture()
    late.deadline_s = 0.0
    with pytest.raises(pykka.Timeout):
        late.get()
    late.set("too late")
    with pytest.raises(pykka.Timeout):
        late.get(timeout=1)


def test_any_number_of_threads_may_wait_for_a_future() -> None:
    future, got = AskFuture(), list[int]()
    threads = [
        threading.Thread(target=lambda: got.append(future.get(timeout=10)), daemon=True)
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    while len(future._others or ()) < 7:  # and the first one
        assert all(thread.is_alive() for thread in threads)
    future.set(5)
    for thread in threads:
        thread.join(10)
    assert got == [5] * 8


def test_a_future_can_be_joined_mapped_and_reduced_as_pykkas() -> None:
    one, two = AskFuture(), AskFuture()
    one.set([1, 2, 3])
    two.set([4])
    assert one.map(len).get() == 3
    assert one.filter(lambda n: n > 1).get() == [2, 3]
    assert one.reduce(lambda a, b: a + b, 0).get() == 6
    assert one.join(two).get() == [[1, 2, 3], [4]]
