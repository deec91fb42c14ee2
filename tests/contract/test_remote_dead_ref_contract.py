# pyright: reportUnknownLambdaType=false
# pykka types what a future holds as unknown.
"""A ref to an actor that is gone travels like any other, and arrives as one that is gone."""

from __future__ import annotations

import gc
from typing import Any

import pykka
import pytest
from fakes.node_pair import Pair, until

from understudy.transport import MailboxActor, RemoteError, RemoteRef

SOON_S = 5.0


class Echo(MailboxActor):
    def on_receive(self, message: Any) -> Any:
        return message


class Plain(pykka.ThreadingActor):
    use_daemon_thread = True


class Boss(MailboxActor):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        return message


class Worker(MailboxActor):
    def __init__(self, boss: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self.boss = boss

    def on_stop(self) -> None:
        self.boss.tell({"bye": self.actor_ref})


class CarriesError(Exception):
    def __init__(self, ref: pykka.ActorRef[Any]) -> None:
        super().__init__("it ended")
        self.ref = ref


class Mourner(MailboxActor):
    """Says in each way that there is what of an actor that has ended."""

    def gives(self) -> pykka.ActorRef[Any]:
        return dead(Plain)

    def raises(self) -> None:
        raise CarriesError(dead(Plain))


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Careless(MailboxActor):
    def raises(self) -> None:
        error = ValueError("what it carries has no words")
        error.thing = Unprintable()  # type: ignore[attr-defined]
        raise error


def dead(actor_class: type[pykka.ThreadingActor]) -> pykka.ActorRef[Any]:
    ref = actor_class.start()
    ref.stop(timeout=SOON_S)
    gc.collect()
    return ref


@pytest.mark.parametrize("actor_class", [Echo, Plain])
def test_a_ref_to_an_actor_that_is_gone_arrives_dead(
    pair: Pair, actor_class: type[pykka.ThreadingActor]
) -> None:
    boss = pair.start(Boss)
    ref = dead(actor_class)
    boss.tell({"ref": ref})
    back = boss.ask({"ref": ref}, timeout=SOON_S)["ref"]
    assert back.actor_urn == ref.actor_urn
    assert not back.is_alive()
    (told, _) = boss.proxy().got.get(timeout=SOON_S)
    assert not told["ref"].is_alive()


def test_who_ends_may_say_so_with_its_own_ref(pair: Pair) -> None:
    boss = Boss.start()
    pair.here.host(boss)
    far = pair.there.ref(pair.here.host(boss))
    worker = pair.start(Worker, far, actor_id="worker")
    assert worker.stop(timeout=SOON_S)
    (message,) = boss.proxy().got.get(timeout=SOON_S)
    assert message["bye"] is worker
    assert not worker.is_alive()


def test_an_answer_may_hold_a_ref_to_an_actor_that_is_gone(pair: Pair) -> None:
    mourner = pair.start(Mourner)
    ref = mourner.proxy().gives().get(timeout=SOON_S)
    assert isinstance(ref, RemoteRef)
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("hello")
    with pytest.raises(RemoteError, match="it ended"):
        mourner.proxy().raises().get(timeout=SOON_S)
    assert mourner.ask("still there?", timeout=SOON_S) is None


def test_an_exception_that_carries_what_has_no_words_is_still_an_answer(pair: Pair) -> None:
    careless = pair.start(Careless)
    with pytest.raises(ValueError, match="what it carries has no words"):
        careless.proxy().raises().get(timeout=SOON_S)
    assert careless.is_alive()


def test_an_old_ref_stands_for_the_next_bearer_of_its_name(pair: Pair) -> None:
    first = Echo.start()
    pair.there.host(first, actor_id="name")
    first.stop(timeout=SOON_S)
    boss = Boss.start()
    far = pair.there.ref(pair.here.host(boss))
    far.ask({"ref": first}, timeout=SOON_S)
    ref = boss.proxy().got.get(timeout=SOON_S)[0]["ref"]
    assert not ref.is_alive()
    pair.there.host(Echo.start(), actor_id="name")
    until(ref.is_alive)
    far.ask({"ref": first}, timeout=SOON_S)
    assert ref.ask("hello", timeout=SOON_S) == "hello"
    assert ref.is_alive()
