from __future__ import annotations

import pytest

from understudy.supervision.actor_errors import InvalidActor, NameTaken, UnknownActor
from understudy.supervision.names import Names


def claim(
    names: Names, name: str | None, parent: str | None = None, node: str | None = None
) -> str:
    return names.claim(name, "Worker", node=node, parent=parent).actor_id


def test_children_stop_before_parents_and_the_latest_first() -> None:
    names = Names()
    claim(names, "a")
    claim(names, "a1", "a")
    claim(names, "b")
    claim(names, "a2", "a")
    claim(names, "a1x", "a1")
    assert names.stop_order() == ["b", "a2", "a1x", "a1", "a"]
    assert names.stop_order("a") == ["a2", "a1x", "a1"]
    assert names.stop_order("unknown") == []


def test_the_orphans_of_a_parent_that_is_gone_are_stopped_too() -> None:
    names = Names()
    claim(names, "a")
    claim(names, "a1", "a")
    names.release("a")
    assert names.stop_order() == ["a1"]
    assert names.release("a") is None


def test_the_next_bearer_of_a_name_has_another_id() -> None:
    names = Names()
    assert claim(names, "a") == "a"
    names.release("a")
    assert claim(names, "a.2") == "a.2"
    assert claim(names, "a") == "a.3"
    found = names.by_id("a.3")
    assert found is not None
    assert (found.name, found.key, found.is_process) == ("a", "a.3/a.3", True)


def test_a_name_is_made_from_the_class() -> None:
    assert claim(Names(), None) == "worker-1"


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".a", "x" * 41, "ä"])
def test_a_name_that_cannot_be_a_socket_is_refused(name: str) -> None:
    with pytest.raises(InvalidActor, match="1 to 40 letters"):
        claim(Names(), name)


def test_the_living_have_their_names_alone() -> None:
    names = Names(("root",))
    claim(names, "a")
    for name in ("a", "root"):
        with pytest.raises(NameTaken):
            claim(names, name)


def test_only_what_is_up_is_found() -> None:
    names = Names()
    entry = names.claim("a", "Worker", node="root", parent=None)
    with pytest.raises(UnknownActor, match="no actor 'a'; there are: a"):
        names.find("a")
    entry.address = ["root", "a"]
    assert names.find("a") is entry
    assert names.within("root") == [entry]
    assert names.nodes() == []
