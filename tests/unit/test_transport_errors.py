from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from understudy.transport import TransportError, errors

SAMPLES: dict[str, tuple[Any, ...]] = {
    "TransportError": ("anything",),
    "MalformedMessage": ("payload", "is missing"),
    "UnknownMessageType": ("telepathy",),
    "EncodeError": ("can not serialize 'set' object",),
    "DecodeError": ("extra bytes",),
    "FileRefBroken": ("/x", "it is no regular file"),
    "FrameTooLarge": (10, 5),
    "MailboxFull": ("inbox", 3, 100),
    "MailboxClosed": ("inbox",),
    "ChannelClosed": ("bus", "the server is gone"),
    "ConnectFailed": ("/run/x.sock", "no service listens there"),
    "HelloRefused": ("a", 1, "stale_incarnation", "incarnation 2 was here"),
    "UntrustedPeer": (77, 1000, 0),
    "PeerUnknown": ("zoe", ("a", "b")),
    "PeerTooSlow": ("a", 1000, 5.0),
    "SocketInUse": ("/run/x.sock",),
    "SocketPathTooLong": ("/run/x.sock", 200, 107),
    "SocketPathUnusable": ("/run/x.sock", "Permission denied"),
    "NodeError": ("agent_000", "it cannot be reached"),
    "PeerUnreachable": ("agent_000", "Too many open files"),
    "RemoteError": ("module:Name", "words", "Traceback"),
    "ActorLost": ("Counter (node/a)", "the other end closed the connection", True),
    "ActorRestarted": ("Counter (node/a)", "incarnation 2 has been started", True),
    "DeadlockError": (("a", "b", "a"),),
}

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, TransportError)
]


@pytest.mark.parametrize("error_class", CLASSES)
def test_every_error_survives_pickle_with_its_fields_and_text(
    error_class: type[TransportError],
) -> None:
    error = error_class(*SAMPLES[error_class.__name__])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is error_class
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
    assert str(error)


def test_a_long_path_is_told_with_its_length_the_limit_and_the_mend() -> None:
    text = str(errors.SocketPathTooLong("/long", 120, 107))
    assert "120" in text
    assert "107" in text
    assert "shorter run directory" in text
