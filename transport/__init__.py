"""How agents reach each other: messages, mailboxes, channels, requests and their answers.

Knows no actor classes, no restart policy and no tasks.
"""

from __future__ import annotations

from .base import DEFAULT_SERVER_NAME, Channel, PeerEvent
from .channel import UnixSocketChannel
from .errors import (
    ChannelClosed,
    ConnectFailed,
    DecodeError,
    EncodeError,
    FrameTooLarge,
    HelloRefused,
    MailboxClosed,
    MailboxFull,
    MalformedMessage,
    PeerTooSlow,
    PeerUnknown,
    SocketInUse,
    SocketPathTooLong,
    SocketPathUnusable,
    TransportError,
    UnknownMessageType,
    UntrustedPeer,
)
from .mailbox import Mailbox, Overflow
from .memory import MemoryChannel
from .message import BROADCAST, AgentMessage, ErrorKind, MessageType
from .protocol import Agent2AgentProtocol
from .stats import ChannelStats, ProtocolStats

__all__ = [
    "BROADCAST",
    "DEFAULT_SERVER_NAME",
    "Agent2AgentProtocol",
    "AgentMessage",
    "Channel",
    "ChannelClosed",
    "ChannelStats",
    "ConnectFailed",
    "DecodeError",
    "EncodeError",
    "ErrorKind",
    "FrameTooLarge",
    "HelloRefused",
    "Mailbox",
    "MailboxClosed",
    "MailboxFull",
    "MalformedMessage",
    "MemoryChannel",
    "MessageType",
    "Overflow",
    "PeerEvent",
    "PeerTooSlow",
    "PeerUnknown",
    "ProtocolStats",
    "SocketInUse",
    "SocketPathTooLong",
    "SocketPathUnusable",
    "TransportError",
    "UnixSocketChannel",
    "UnknownMessageType",
    "UntrustedPeer",
]
