"""How agents and actors reach each other: messages, mailboxes, channels, nodes, remote refs.

Knows no actor classes, no restart policy and no tasks.
"""

from __future__ import annotations

from .address import Address
from .adopt import MailboxActor
from .base import DEFAULT_SERVER_NAME, Channel, PeerEvent
from .channel import UnixSocketChannel
from .dead_letters import DEAD_LETTERS, DeadLetter, DeadLetters
from .errors import (
    ActorLost,
    ActorRestarted,
    ChannelClosed,
    ConnectFailed,
    DeadlockError,
    DecodeError,
    EncodeError,
    FileRefBroken,
    FrameTooLarge,
    HelloRefused,
    MailboxClosed,
    MailboxFull,
    MalformedMessage,
    NodeError,
    PeerTooSlow,
    PeerUnknown,
    PeerUnreachable,
    RemoteError,
    SocketInUse,
    SocketPathTooLong,
    SocketPathUnusable,
    TransportError,
    UnknownMessageType,
    UntrustedPeer,
)
from .failures import register_exception
from .file_ref import FileRef
from .future import AskFuture
from .inbox import ActorInbox
from .limits import NodeLimits
from .mailbox import Mailbox, Overflow
from .mailbox_spec import MailboxSpec
from .memory import MemoryChannel
from .memory_node import MemoryHub, MemoryNode
from .message import BROADCAST, AgentMessage, ErrorKind, MessageType
from .node import Node
from .protocol import Agent2AgentProtocol
from .remote import RemoteRef
from .stats import ChannelStats, ProtocolStats
from .traffic import Traffic
from .waiting import WaitObserver, set_wait_observer

__all__ = [
    "BROADCAST",
    "DEAD_LETTERS",
    "DEFAULT_SERVER_NAME",
    "ActorInbox",
    "ActorLost",
    "ActorRestarted",
    "Address",
    "Agent2AgentProtocol",
    "AgentMessage",
    "AskFuture",
    "Channel",
    "ChannelClosed",
    "ChannelStats",
    "ConnectFailed",
    "DeadLetter",
    "DeadLetters",
    "DeadlockError",
    "DecodeError",
    "EncodeError",
    "ErrorKind",
    "FileRef",
    "FileRefBroken",
    "FrameTooLarge",
    "HelloRefused",
    "Mailbox",
    "MailboxActor",
    "MailboxClosed",
    "MailboxFull",
    "MailboxSpec",
    "MalformedMessage",
    "MemoryChannel",
    "MemoryHub",
    "MemoryNode",
    "MessageType",
    "Node",
    "NodeError",
    "NodeLimits",
    "Overflow",
    "PeerEvent",
    "PeerTooSlow",
    "PeerUnknown",
    "PeerUnreachable",
    "ProtocolStats",
    "RemoteError",
    "RemoteRef",
    "SocketInUse",
    "SocketPathTooLong",
    "SocketPathUnusable",
    "Traffic",
    "TransportError",
    "UnixSocketChannel",
    "UnknownMessageType",
    "UntrustedPeer",
    "WaitObserver",
    "register_exception",
    "set_wait_observer",
]
