# ruff: noqa: ANN401 - keyword arguments are passed on as they came.
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.transport import (
    AgentMessage,
    EncodeError,
    ErrorKind,
    MalformedMessage,
    MessageType,
    UnknownMessageType,
)


def make(**changes: Any) -> AgentMessage:
    fields: dict[str, Any] = {
        "message_id": "m1",
        "sender_id": "alice",
        "receiver_id": "bob",
        "message_type": MessageType.TASK_REQUEST,
        "payload": {"task": 1},
        "timestamp": 12.5,
    }
    return AgentMessage(**(fields | changes))


FULL = make(
    correlation_id="m0",
    deadline=99.0,
    incarnation=3,
    chain=("carol", "alice"),
    task_id="t1",
    context_id="c1",
    traceparent="00-ab-cd-01",
)


def test_the_first_seven_fields_can_be_given_by_position() -> None:
    message = AgentMessage("m", "a", "b", MessageType.HEARTBEAT, {}, 1.0, "m0")
    assert message.correlation_id == "m0"
    assert message.chain == ()


def test_created_messages_have_unique_ids_and_the_clocks_time() -> None:
    first, second = (
        AgentMessage.create("a", "b", MessageType.HEARTBEAT, {}, clock=lambda: 7.0)
        for _ in range(2)
    )
    assert first.message_id != second.message_id
    assert first.timestamp == 7.0


@pytest.mark.parametrize("message", [make(), FULL])
def test_a_message_survives_the_wire_and_json(message: AgentMessage) -> None:
    assert AgentMessage.from_wire(message.to_wire()) == message
    assert AgentMessage.from_json(message.to_json()) == message


def test_the_wire_has_the_first_seven_fields_always_and_no_empty_others() -> None:
    wire = make().to_wire()
    assert list(wire) == [
        "message_id",
        "sender_id",
        "receiver_id",
        "message_type",
        "payload",
        "timestamp",
        "correlation_id",
    ]
    assert json.loads(make().to_json())["message_type"] == "task_request"


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert AgentMessage.from_wire(make().to_wire() | {"colour": "red"}) == make()


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(UnknownMessageType, match="telepathy"):
        AgentMessage.from_wire(make().to_wire() | {"message_type": "telepathy"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_id", 5),
        ("sender_id", None),
        ("receiver_id", b"bob"),
        ("message_type", 1),
        ("payload", [1]),
        ("timestamp", "now"),
        ("timestamp", True),
        ("timestamp", 10**400),
        ("correlation_id", 5),
        ("deadline", "soon"),
        ("incarnation", -1),
        ("incarnation", True),
        ("incarnation", 1.5),
        ("chain", "alice"),
        ("chain", [1]),
        ("task_id", 5),
    ],
)
def test_a_field_of_a_wrong_type_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(MalformedMessage) as caught:
        AgentMessage.from_wire(make().to_wire() | {field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["message_id", "payload", "timestamp", "message_type"])
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    wire = make().to_wire()
    del wire[field]
    with pytest.raises(MalformedMessage, match=f"'{field}' is missing"):
        AgentMessage.from_wire(wire)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", '"x"', "[" * 100_000])
def test_json_that_is_no_message_is_malformed(text: str) -> None:
    with pytest.raises(MalformedMessage):
        AgentMessage.from_json(text)


def test_bytes_have_no_place_in_json() -> None:
    with pytest.raises(EncodeError, match="bytes"):
        make(payload={"raw": b"\x00"}).to_json()


def test_only_coordination_and_heartbeats_are_control() -> None:
    control = {kind for kind in MessageType if make(message_type=kind).is_control}
    assert control == {MessageType.COORDINATION, MessageType.HEARTBEAT}


def test_a_message_expires_after_its_deadline_and_never_without_one() -> None:
    assert not make(deadline=10.0).is_expired(10.0)
    assert make(deadline=10.0).is_expired(10.1)
    assert not make().is_expired(1e12)


def test_an_error_reply_goes_to_the_sender_and_names_the_message() -> None:
    reply = FULL.error_reply("bus", ErrorKind.OVERLOADED, "full", clock=lambda: 1.0)
    assert reply is not None
    assert (reply.sender_id, reply.receiver_id) == ("bus", "alice")
    assert (reply.correlation_id, reply.task_id) == ("m1", "t1")
    assert reply.payload == {"kind": "overloaded", "message": "full", "receiver_id": "bob"}
    assert type(reply.payload["kind"]) is str


def test_an_error_is_never_answered_with_an_error() -> None:
    assert make(message_type=MessageType.ERROR).error_reply("bus", "x", "y") is None


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_no_mapping_breaks_the_parser(wire: dict[str, Any]) -> None:
    with pytest.raises((MalformedMessage, UnknownMessageType)):
        AgentMessage.from_wire({"message_type": "error", **wire, "payload": None})


@given(st.dictionaries(st.text(max_size=5), plain))
def test_any_plain_payload_survives_json(payload: dict[str, Any]) -> None:
    message = make(payload=payload)
    assert AgentMessage.from_json(message.to_json()) == message
