from __future__ import annotations

import time
from pathlib import Path

import pytest

from understudy.actors.claude.session_lock import SessionHeld
from understudy.actors.places import Places, is_name
from understudy.actors.tasks.rows import Conversation, Lease, Outcome
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "conversations", {})


def made(places: Places) -> str:
    place = Conversation.new().place
    lock = places.hold(place, "", 0.0)
    places.live(place).mkdir()
    places.release(lock, place)
    return place


def test_a_place_has_one_holder_at_a_time(places: Places) -> None:
    place = Conversation.new().place
    lock = places.hold(place, "", 0.0)
    with pytest.raises(SessionHeld):
        places.hold(place, "", 0.1)
    places.release(lock, place)
    second = places.hold(place, "", 0.0)
    places.release(second, place)


def test_the_sweep_leaves_what_is_held_and_what_is_needed(places: Places, tmp_path: Path) -> None:
    needed, held, free = (made(places) for _ in range(3))
    lock = places.hold(held, "", 0.0)
    assert places.sweep({needed}, now=time.time()) == 1
    assert [places.live(place).exists() for place in (needed, held, free)] == [True, True, False]
    assert not (tmp_path / "conversations" / "locks" / f"{free}.lock").exists()
    places.release(lock, held)


def test_a_kept_conversation_is_brought_back_once(places: Places) -> None:
    place = made(places)
    context = Conversation.new().session_id
    places.keep(place, context, 10)
    first, second = Conversation.new().place, Conversation.new().place
    assert places.bring_back(context, first)
    assert not places.bring_back(context, second)


def test_only_the_newest_are_kept(places: Places) -> None:
    contexts = [Conversation.new().session_id for _ in range(3)]
    for context in contexts:
        places.keep(made(places), context, 2)
    assert [places.kept(context).exists() for context in contexts] == [False, True, True]


@pytest.mark.parametrize("name", ["../../etc", "", "a" * 36])
def test_a_name_from_outside_is_no_path(name: str) -> None:
    assert not is_name(name)


def test_a_task_stays_where_it_was_worked_on_unless_it_was_refused(tmp_path: Path) -> None:
    with TaskStore(tmp_path / "tasks.db") as store:
        store.add(Task(task_id="t"), "run")
        first, second = Conversation.new(), Conversation.new()
        store.start("t", Lease("a", 1), 1, first)
        assert store.conversation_of("t") == first
        store.end_attempt("t", Outcome.FELL, 1)
        store.start("t", Lease("b", 1), 2, second)
        store.end_attempt("t", Outcome.REFUSED, 1)
        assert store.conversation_of("t") == first
        assert store.places_in_use() >= {first.place}
