"""The table of failure kinds, and what the CLI's results and ends are taken for."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.actors.failure import POLICIES, FailureKind, classify_exit, classify_result

OK: dict[str, Any] = {
    "subtype": "success",
    "is_error": False,
    "num_turns": 1,
    "stop_reason": "end_turn",
    "result": "done",
}


def api_error(status: int | None, text: str, ending: str = "api_error") -> dict[str, Any]:
    """A failed API call, as a result: the subtype says success."""
    return {
        "subtype": "success",
        "is_error": True,
        "num_turns": 1,
        "stop_reason": "stop_sequence",
        "api_error_status": status,
        "result": text,
        "terminal_reason": ending,
    }


def test_every_kind_has_a_policy() -> None:
    assert set(POLICIES) == set(FailureKind)


@pytest.mark.parametrize("kind", [FailureKind.CRASH, FailureKind.OOM, FailureKind.HUNG])
def test_a_fallen_agent_is_restarted_and_its_task_runs_again(kind: FailureKind) -> None:
    policy = POLICIES[kind]
    assert (policy.requeue, policy.uses_attempt, policy.counts_in_intensity) == (True, True, True)
    assert not policy.permanent


@pytest.mark.parametrize(
    "kind", [FailureKind.RATE_LIMITED, FailureKind.OVERLOADED, FailureKind.API_DOWN]
)
def test_a_fault_of_the_api_costs_neither_an_attempt_nor_a_restart(kind: FailureKind) -> None:
    policy = POLICIES[kind]
    assert (policy.requeue, policy.uses_attempt, policy.counts_in_intensity) == (True, False, False)


@pytest.mark.parametrize("kind", [FailureKind.AUTH, FailureKind.CONFIG, FailureKind.IMAGE])
def test_what_no_restart_can_mend_is_permanent_and_says_how_to_mend_it(kind: FailureKind) -> None:
    policy = POLICIES[kind]
    assert policy.permanent
    assert not policy.requeue
    assert policy.mend


def test_only_those_three_are_permanent() -> None:
    assert sum(policy.permanent for policy in POLICIES.values()) == 3


def test_a_completed_turn_is_no_failure() -> None:
    assert classify_result(OK, None, needs_structured=False) is None


def test_a_missing_structured_result_is_a_failure_only_where_one_is_needed() -> None:
    given = OK | {"structured_output": {"n": 7}}
    assert classify_result(given, None, needs_structured=True) is None
    missed = classify_result(OK, None, needs_structured=True)
    assert missed is FailureKind.SCHEMA_MISSED


def test_an_empty_structured_result_is_a_result() -> None:
    assert classify_result(OK | {"structured_output": {}}, None, needs_structured=True) is None


def test_an_answer_that_broke_off_is_not_passed_off_as_a_success() -> None:
    cut = OK | {"stop_reason": None, "result": "half"}
    assert classify_result(cut, None, needs_structured=False) is FailureKind.API_DOWN


# Rows as both releases give them; the ending differs between them.
@pytest.mark.parametrize("ending", ["completed", "api_error"])
@pytest.mark.parametrize(
    ("status", "text", "word", "kind"),
    [
        (401, "Invalid API key · Fix external API key", "authentication_failed", "auth"),
        (403, "Failed to authenticate. API Error: 403", "authentication_failed", "auth"),
        (402, "API Error: 402", "unknown", "config"),
        (400, "API Error: 400", "unknown", "internal"),
        (400, "Prompt is too long · 9 tokens > 1", "invalid_request", "context_full"),
        (404, "There's an issue with the selected model", "model_not_found", "config"),
        (413, "Request too large (max 32MB)", "invalid_request", "context_full"),
        (429, "API Error: Request rejected (429)", "rate_limit", "rate_limited"),
        (500, "API Error: 500", "server_error", "api_down"),
        (503, "API Error: 503", "server_error", "api_down"),
        (529, "API Error: 529 Overloaded.", "server_error", "overloaded"),
        (None, "API Error: Unable to connect to API (ENOENT)", "server_error", "api_down"),
        (None, "API returned an empty or malformed response (HTTP 200)", "unknown", "api_down"),
        (None, "Request timed out", "server_error", "api_down"),
        (400, "Credit balance is too low", "billing_error", "config"),
        (403, "Your organization has disabled", "oauth_org_not_allowed", "auth"),
        (None, "API Error: Claude's response exceeded", "max_output_tokens", "output_limit"),
        (
            None,
            "API Error: The model has reached its context window limit.",
            "max_output_tokens",
            "context_full",
        ),
        (None, "Not logged in · Please run /login", None, "auth"),
        (None, "never seen before", "never heard of", "internal"),
    ],
)
def test_api_errors_are_told_apart(
    status: int | None, text: str, word: str | None, kind: str, ending: str
) -> None:
    result = api_error(status, text, ending)
    assert classify_result(result, word, needs_structured=True) is FailureKind(kind)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"subtype": "error_max_turns", "is_error": True}, "max_turns"),
        ({"subtype": "error_max_budget_usd", "is_error": True}, "budget"),
        ({"subtype": "error_max_structured_output_retries", "is_error": True}, "schema_missed"),
        ({"stop_reason": "refusal", "is_error": True}, "refusal"),
        ({"is_error": True, "terminal_reason": "prompt_too_long"}, "context_full"),
        (
            {
                "subtype": "error_during_execution",
                "is_error": True,
                "terminal_reason": "aborted_streaming",
            },
            "canceled",
        ),
        (
            {
                "subtype": "error_during_execution",
                "is_error": True,
                "errors": ["No conversation found with session ID: 3f0c1a9e"],
            },
            "conversation",
        ),
        ({"subtype": "error_of_tomorrow", "is_error": False}, "internal"),
    ],
)
def test_other_endings_are_told_apart(fields: dict[str, Any], kind: str) -> None:
    assert classify_result(OK | fields, None, needs_structured=False) is FailureKind(kind)


@pytest.mark.parametrize(
    ("exit_code", "oom", "said", "kind"),
    [
        (137, True, "", "oom"),
        (137, False, "", "crash"),
        (None, False, "", "crash"),
        (127, False, "", "image"),
        (1, False, "error: unknown option '--no-such'", "config"),
        (1, False, "Error: Invalid session ID. Must be a valid UUID.", "config"),
        (1, False, "No conversation found with session ID: 3f0c1a9e", "conversation"),
        (1, False, "Error: Session ID 3f0c1a9e is already in use.", "conversation"),
    ],
)
def test_ends_are_told_apart(exit_code: int | None, oom: bool, said: str, kind: str) -> None:
    assert classify_exit(exit_code, oom=oom, stderr_tail=said) is FailureKind(kind)


def test_a_lost_conversation_runs_again_in_a_new_one_at_no_attempt() -> None:
    policy = POLICIES[FailureKind.CONVERSATION]
    assert (policy.requeue, policy.uses_attempt, policy.permanent) == (True, False, False)
    # Bounded by the restart intensity: an agent that tries the same one again cannot go on forever.
    assert policy.counts_in_intensity


def test_a_turn_that_the_api_paused_is_not_passed_off_as_a_success() -> None:
    paused = OK | {"stop_reason": "pause_turn"}
    assert classify_result(paused, None, needs_structured=False) is FailureKind.API_DOWN


def test_an_image_without_the_cli_is_told_by_the_words_of_its_init() -> None:
    words = "ERROR (catatonit:6): failed to exec pid1: No such file or directory"
    assert classify_exit(1, stderr_tail=words) is FailureKind.IMAGE


@pytest.mark.parametrize("status", [402, None])
def test_a_refusal_of_the_gateways_budget_is_one_whatever_its_status(status: int | None) -> None:
    result = api_error(status, "API Error: 402 understudy budget: task t has used 3 of 3 turns")
    assert classify_result(result, "unknown", needs_structured=True) is FailureKind.BUDGET
