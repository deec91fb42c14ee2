from __future__ import annotations

import os

import pytest

from understudy.actors.podman import container_name
from understudy.actors.podman.names import (
    NameParts,
    is_run_id,
    name_labels,
    owner_labels,
    owner_lives,
    parse_name,
)


@pytest.mark.parametrize("agent_id", ["agent_000", "a-b", "image", "x.y"])
def test_a_name_gives_back_what_it_was_made_of(agent_id: str) -> None:
    name = container_name("0a1b2c", agent_id, 3, 12)
    assert parse_name(name) == NameParts("0a1b2c", agent_id, 3, 12)


@pytest.mark.parametrize(
    "name",
    ["understudy", "understudy-db", "understudy-a-b", "other-r1-a-1-1", "understudy-r1-a-1-x", ""],
)
def test_a_name_of_somebody_elses_making_is_not_ours(name: str) -> None:
    assert parse_name(name) is None
    assert name_labels(name) == {}


@pytest.mark.parametrize(
    ("run_id", "agent_id"), [("r 1", "a"), ("", "a"), ("r1", "a/b"), ("r-1", "")]
)
def test_ids_that_do_not_fit_are_refused(run_id: str, agent_id: str) -> None:
    with pytest.raises(ValueError, match="container name"):
        container_name(run_id, agent_id, 1, 1)


@pytest.mark.parametrize("text", ["../..", "a/b", "", ".", "a b", "x" * 33])
def test_what_could_be_a_path_is_no_run_id(text: str) -> None:
    assert not is_run_id(text)


def test_an_owner_lives_while_its_number_is_its_own() -> None:
    labels = owner_labels()
    assert owner_lives(labels)
    assert not owner_lives({**labels, "understudy.owner_start": "1"})
    assert not owner_lives({**labels, "understudy.owner_pid": "4194305"})
    assert not owner_lives({"understudy.owner_pid": str(os.getpid())})
    assert not owner_lives({})
