"""The table of failure kinds: what a failure means for its task, for its agent, and for the user.

Used by the supervisor, the scheduler and the views alike, so that they never disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


# How the gateway's refusal of a request begins that no budget covers.
BUDGET_MARK = "understudy budget"


class FailureKind(StrEnum):
    """Why a task did not succeed, or an agent fell."""

    CRASH = "crash"
    OOM = "oom"
    HUNG = "hung"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    API_DOWN = "api_down"
    AUTH = "auth"
    CONFIG = "config"
    IMAGE = "image"
    CONTEXT_FULL = "context_full"
    CONTEXT_GONE = "context_gone"
    BUDGET = "budget"
    REFUSAL = "refusal"
    MAX_TURNS = "max_turns"
    SCHEMA_MISSED = "schema_missed"
    OUTPUT_LIMIT = "output_limit"
    CONVERSATION = "conversation"
    POISON = "poison"
    CANCELED = "canceled"
    TIMEOUT = "timeout"
    WORKSPACE = "workspace"
    INTERNAL = "internal"


@dataclass(frozen=True)
class Policy:
    """What follows from a failure.

    Attributes:
        requeue: the task runs again.
        uses_attempt: the run counts against the task's number of attempts.
        counts_in_intensity: the agent's restart counts against its supervisor's restart intensity.
        permanent: the agent is not started again; no other agent would fare better.
        mend: what the user can do, in a sentence; empty when there is nothing.
    """

    requeue: bool
    uses_attempt: bool
    counts_in_intensity: bool
    permanent: bool
    mend: str


def _falls(mend: str) -> Policy:
    """The agent fell: a new one takes the task up."""
    return Policy(
        requeue=True, uses_attempt=True, counts_in_intensity=True, permanent=False, mend=mend
    )


def _waits(mend: str) -> Policy:
    """The API is at fault: the task waits, at no cost to anyone."""
    return Policy(
        requeue=True, uses_attempt=False, counts_in_intensity=False, permanent=False, mend=mend
    )


def _ends(mend: str) -> Policy:
    """The task itself failed: the agent goes on with the next."""
    return Policy(
        requeue=False, uses_attempt=True, counts_in_intensity=False, permanent=False, mend=mend
    )


def _hopeless(mend: str) -> Policy:
    """Nothing can succeed until somebody mends the cause."""
    return Policy(
        requeue=False, uses_attempt=False, counts_in_intensity=False, permanent=True, mend=mend
    )


POLICIES: Mapping[FailureKind, Policy] = MappingProxyType(
    {
        FailureKind.CRASH: _falls("look at the agent's log; the task runs again by itself"),
        # Once more with more memory, then no more: see `TaskBook.out_of_memory`.
        FailureKind.OOM: _falls("give agents more memory: agent.container_memory"),
        FailureKind.HUNG: _falls("if the work is just slow, raise agent.stall_timeout"),
        FailureKind.RATE_LIMITED: _waits("wait, use fewer agents, or have the limit raised"),
        FailureKind.OVERLOADED: _waits("wait: the API has too much to do"),
        FailureKind.API_DOWN: _waits("check the network and the address of the API"),
        FailureKind.AUTH: _hopeless("check the API key in the environment of the service"),
        FailureKind.CONFIG: _hopeless("correct the model's name or the account's billing"),
        FailureKind.IMAGE: _hopeless("build the agent image: understudy image build"),
        FailureKind.CONTEXT_FULL: _ends("give the task fewer or smaller files"),
        FailureKind.CONTEXT_GONE: _ends(
            "run it without context_id, or keep more of them: storage.keep_contexts"
        ),
        FailureKind.BUDGET: _ends("raise the budget"),
        FailureKind.REFUSAL: _ends("word the task differently: the model refused it"),
        FailureKind.MAX_TURNS: _ends("raise agent.max_turns, or make the task smaller"),
        FailureKind.SCHEMA_MISSED: _ends("run it again, or describe the task more plainly"),
        FailureKind.OUTPUT_LIMIT: _ends("ask for less in one answer, or for files instead of text"),
        # A new conversation takes the task up; the old one's loss is nobody's attempt.
        FailureKind.CONVERSATION: Policy(
            requeue=True,
            uses_attempt=False,
            counts_in_intensity=True,
            permanent=False,
            mend="nothing: the task begins a new conversation",
        ),
        FailureKind.POISON: _ends("find out in the agents' logs what the task does to them"),
        FailureKind.CANCELED: _ends(""),
        FailureKind.TIMEOUT: _ends("give the task a longer timeout, or make it smaller"),
        FailureKind.WORKSPACE: _ends("correct the task's files or its repository"),
        FailureKind.INTERNAL: _ends("report it, with the agent's log"),
    }
)

# What the supervisors are told: a child that ends with one of these words is started again without
# its restart being counted, or is not started again.
UNCOUNTED_KINDS = frozenset(
    kind.value
    for kind, policy in POLICIES.items()
    if not policy.counts_in_intensity and not policy.permanent
)
PERMANENT_KINDS = frozenset(kind.value for kind, policy in POLICIES.items() if policy.permanent)

_BY_SUBTYPE = {
    "error_max_turns": FailureKind.MAX_TURNS,
    "error_max_budget_usd": FailureKind.BUDGET,
    "error_max_structured_output_retries": FailureKind.SCHEMA_MISSED,
}
_BY_STATUS = {
    401: FailureKind.AUTH,
    402: FailureKind.CONFIG,
    403: FailureKind.AUTH,
    404: FailureKind.CONFIG,
    413: FailureKind.CONTEXT_FULL,
    429: FailureKind.RATE_LIMITED,
    529: FailureKind.OVERLOADED,
}
# The word on the assistant event that tells of the failure. These know more than the status: an
# empty account is a 400, an answer that is too long has no status at all.
_BY_TELLING_WORD = {
    "billing_error": FailureKind.CONFIG,
    "model_not_found": FailureKind.CONFIG,
    "oauth_org_not_allowed": FailureKind.AUTH,
    "max_output_tokens": FailureKind.OUTPUT_LIMIT,
}
# These know less than the status does.
_BY_WORD = {
    "authentication_failed": FailureKind.AUTH,
    "rate_limit": FailureKind.RATE_LIMITED,
    "overloaded": FailureKind.OVERLOADED,
    "server_error": FailureKind.API_DOWN,
}
_NO_ROOM = ("Prompt is too long", "API Error: The model has reached its context window limit")
# Failures that carry neither a status nor a telling word, by how their text begins.
_BY_TEXT = (
    ("Not logged in", FailureKind.AUTH),
    ("Invalid API key", FailureKind.AUTH),
    ("API returned an empty or malformed response", FailureKind.API_DOWN),
    ("API Error", FailureKind.API_DOWN),
    ("Request timed out", FailureKind.API_DOWN),
)
_SERVER_ERRORS = range(500, 600)
_EXIT_NOT_RUNNABLE = (126, 127)
# What the container's init says when the image has no CLI; its exit code does not tell.
_NO_PROGRAM = "failed to exec pid1"
# The CLI's own complaints about how it was started; starting it the same way again cannot help.
_NO_CONVERSATION = "No conversation found with session ID"
_CONVERSATION_IN_USE = re.compile(r"Session ID \S+ is already in use")
_BAD_START = (
    "error: option",
    "unknown option",
    "is not valid JSON",
    "--json-schema",
    "Invalid session ID",
    "--resume requires a valid session ID",
)


def classify_result(
    result: Mapping[str, Any], assistant_error: str | None, *, needs_structured: bool
) -> FailureKind | None:
    """The kind of failure a `result` event tells of, or None when the turn succeeded.

    A failed API call ends a turn with `subtype: "success"` and `is_error: true`, and 2.1.197 calls
    it completed besides; so the subtype alone says nothing.

    Args:
        result: the event that ended the turn.
        assistant_error: the `error` word of the turn's last assistant event, if there was one.
        needs_structured: whether the role has a schema.
    """
    if result.get("stop_reason") == "refusal":
        return FailureKind.REFUSAL
    if result.get("is_error") or result.get("subtype") != "success":
        return _classify_error(result, assistant_error)
    if _is_cut_off(result):
        return FailureKind.API_DOWN
    if needs_structured and result.get("structured_output") is None:
        return FailureKind.SCHEMA_MISSED
    return None


def classify_exit(
    exit_code: int | None, *, oom: bool = False, stderr_tail: str = ""
) -> FailureKind:
    """The kind of failure when a CLI or its container ended by itself.

    Args:
        exit_code: of the container; None is unknown.
        oom: whether the container's cgroup counted a kill for want of memory.
        stderr_tail: the CLI's last words.
    """
    if oom:
        return FailureKind.OOM
    if exit_code in _EXIT_NOT_RUNNABLE or _NO_PROGRAM in stderr_tail:
        return FailureKind.IMAGE
    if _NO_CONVERSATION in stderr_tail or _CONVERSATION_IN_USE.search(stderr_tail):
        return FailureKind.CONVERSATION
    if any(words in stderr_tail for words in _BAD_START):
        return FailureKind.CONFIG
    return FailureKind.CRASH


def _classify_error(result: Mapping[str, Any], word: str | None) -> FailureKind:
    subtype = str(result.get("subtype"))
    ending = str(result.get("terminal_reason") or "")
    text = str(result.get("result") or "")
    if BUDGET_MARK in text:
        return FailureKind.BUDGET
    if subtype in _BY_SUBTYPE:
        return _BY_SUBTYPE[subtype]
    if ending.startswith("aborted"):
        return FailureKind.CANCELED
    if ending == "prompt_too_long" or text.startswith(_NO_ROOM):
        return FailureKind.CONTEXT_FULL
    if any(_NO_CONVERSATION in str(error) for error in result.get("errors") or ()):
        return FailureKind.CONVERSATION
    return _classify_api_error(result.get("api_error_status"), word or "", text)


def _classify_api_error(status: object, word: str, text: str) -> FailureKind:
    if word in _BY_TELLING_WORD:
        return _BY_TELLING_WORD[word]
    if isinstance(status, int):
        other = FailureKind.API_DOWN if status in _SERVER_ERRORS else FailureKind.INTERNAL
        return _BY_STATUS.get(status, other)
    if word in _BY_WORD:
        return _BY_WORD[word]
    by_text = (kind for start, kind in _BY_TEXT if text.startswith(start))
    return next(by_text, FailureKind.INTERNAL)


def _is_cut_off(result: Mapping[str, Any]) -> bool:
    """Whether the last answer broke off in the middle, which the CLI passes off as a success.

    2.1.197 does so when the stream ends too soon, both do when the API pauses a turn of its own.
    """
    stop_reason = result.get("stop_reason", "")
    return stop_reason in (None, "pause_turn") and bool(result.get("num_turns"))
