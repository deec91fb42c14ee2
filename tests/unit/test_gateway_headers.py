"""What of a container's own headers goes to the API."""

from __future__ import annotations

import pytest

from understudy.actors.gateway import Credentials
from understudy.actors.gateway.headers import request_headers

KEY = Credentials("api_key", "real")
# What 2.1.332 sends to its endpoint.
OF_THE_CLI = {
    "accept": "application/json",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "user-agent": "claude-cli/2.1.332 (external, sdk-cli)",
    "x-app": "cli",
    "x-claude-code-session-id": "s",
    "x-stainless-lang": "js",
}


def test_what_the_cli_says_of_itself_passes() -> None:
    passed = request_headers(OF_THE_CLI, KEY)
    assert passed == OF_THE_CLI | {"accept-encoding": "identity", "x-api-key": "real"}


@pytest.mark.parametrize(
    "name",
    [
        "Anthropic-Organization-Id",
        "anthropic-workspace-id",
        "anthropic-user-profile-id",
        "authorization",
        "cookie",
        "host",
        "x-api-key",
        "x-forwarded-for",
    ],
)
def test_no_other_header_passes(name: str) -> None:
    assert "mine" not in request_headers({name: "mine"}, KEY).values()
