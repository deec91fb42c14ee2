from __future__ import annotations

import pytest

from understudy.transport import HelloRefused
from understudy.transport.registry import PeerRegistry
from understudy.transport.routing import Route, route

PEERS = ("a", "b", "c")


@pytest.mark.parametrize(
    ("receiver", "origin", "expected"),
    [
        ("b", "a", Route(is_local=False, peers=("b",))),
        ("a", "a", Route(is_local=False, peers=("a",))),
        ("b", None, Route(is_local=False, peers=("b",))),
        ("bus", "a", Route(is_local=True, peers=())),
        ("bus", None, Route(is_local=True, peers=())),
        ("", "a", Route(is_local=True, peers=())),
        ("broadcast", "a", Route(is_local=True, peers=("b", "c"))),
        ("broadcast", None, Route(is_local=False, peers=("a", "b", "c"))),
        ("zoe", "a", Route(is_local=False, peers=(), is_unknown=True)),
        ("zoe", None, Route(is_local=False, peers=(), is_unknown=True)),
    ],
)
def test_who_gets_a_message(receiver: str, origin: str | None, expected: Route) -> None:
    assert route(receiver, origin=origin, own_name="bus", peers=PEERS) == expected


def greet(_name: str) -> None:
    """Say nothing."""


def admit(registry: PeerRegistry[str], name: str | None, incarnation: int = 0) -> str:
    return registry.admit(name, incarnation, "port", greet)[0].name


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (0, 0, "name_taken"),
        (2, 2, "name_taken"),
        (2, 1, "stale_incarnation"),
        (2, 0, "stale_incarnation"),
        (1, 2, None),
        (0, 1, None),
    ],
)
def test_a_second_connection_of_a_name_must_be_a_newer_incarnation(
    first: int, second: int, kind: str | None
) -> None:
    registry: PeerRegistry[str] = PeerRegistry("bus")
    admit(registry, "a", first)
    if kind is None:
        assert admit(registry, "a", second) == "a"
        return
    with pytest.raises(HelloRefused) as caught:
        admit(registry, "a", second)
    assert caught.value.kind == kind
    assert registry.incarnations() == {"a": first}


def test_an_old_incarnation_is_refused_after_the_newer_one_has_gone() -> None:
    registry: PeerRegistry[str] = PeerRegistry("bus")
    peer, _ = registry.admit("a", 2, "port", greet)
    assert registry.remove(peer)
    with pytest.raises(HelloRefused):
        admit(registry, "a", 1)
    assert admit(registry, "a", 2) == "a"


def test_a_replaced_peer_no_longer_removes_its_successor() -> None:
    registry: PeerRegistry[str] = PeerRegistry("bus")
    old, _ = registry.admit("a", 1, "old", greet)
    new, replaced = registry.admit("a", 2, "new", greet)
    assert replaced is old
    assert not registry.remove(old)
    assert registry.get("a") is new


@pytest.mark.parametrize("name", ["", "broadcast", "bus", "x" * 201])
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(HelloRefused, match="name_reserved"):
        admit(PeerRegistry("bus"), name)


def test_a_peer_without_a_name_gets_a_unique_one() -> None:
    registry: PeerRegistry[str] = PeerRegistry("bus")
    names = {admit(registry, None) for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("client-") for name in names)


def test_a_peer_whose_greeting_fails_is_not_taken() -> None:
    def fail(_name: str) -> None:
        raise ConnectionError

    registry: PeerRegistry[str] = PeerRegistry("bus")
    with pytest.raises(ConnectionError):
        registry.admit("a", 3, "port", fail)
    assert registry.names() == ()
    assert admit(registry, "a", 1) == "a"
