from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from understudy.actors.gateway import (
    PUBLIC_API,
    SECRET_VARIABLES,
    Credentials,
    InvalidCredentials,
    InvalidUpstream,
    check_upstream,
    find_credentials,
    find_upstream,
    scrub,
)
from understudy.actors.gateway.headers import answer_headers, request_headers
from understudy.actors.gateway.upstream import proxy_for

if TYPE_CHECKING:
    from understudy.actors.errors import AgentError

CANARY = "sk-canary-0123456789"


def test_a_key_is_preferred_to_a_token_and_a_token_to_a_login() -> None:
    env = {
        "CLAUDE_CODE_OAUTH_TOKEN": "login",
        "ANTHROPIC_AUTH_TOKEN": "token",
        "ANTHROPIC_API_KEY": "key",
    }
    found: list[Credentials | None] = []
    for variable in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"):
        found.append(find_credentials(env))
        del env[variable]
    assert found == [
        Credentials("api_key", "key"),
        Credentials("auth_token", "token"),
        Credentials("oauth", "login"),
    ]
    assert find_credentials(env) is None


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_variable_counts_as_not_set(value: str) -> None:
    env = {"ANTHROPIC_API_KEY": value, "ANTHROPIC_AUTH_TOKEN": " token\n"}
    assert find_credentials(env) == Credentials("auth_token", "token")


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "kéy", "\x00key"])
def test_a_value_that_is_no_header_is_refused_by_name_and_not_shown(value: str) -> None:
    with pytest.raises(InvalidCredentials, match="ANTHROPIC_API_KEY") as caught:
        find_credentials({"ANTHROPIC_API_KEY": value})
    assert value not in str(caught.value)
    assert value not in repr(caught.value)


def test_neither_repr_nor_text_shows_the_key() -> None:
    credentials = Credentials("api_key", CANARY)
    assert CANARY not in f"{credentials} {credentials!r}"


def test_credentials_survive_the_wire() -> None:
    credentials = Credentials("oauth", CANARY)
    assert Credentials.from_wire(credentials.to_wire()) == credentials


@pytest.mark.parametrize(
    "data", [{}, {"kind": "api_key"}, {"kind": "password", "value": "x"}, {"kind": 1, "value": 2}]
)
def test_credentials_of_an_unknown_form_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidCredentials):
        Credentials.from_wire(data)


def test_scrubbing_takes_every_secret_and_nothing_else() -> None:
    env = {
        **dict.fromkeys(SECRET_VARIABLES, CANARY),
        "PATH": "/bin",
        "ANTHROPIC_BASE_URL": "http://x",
    }
    assert scrub(env) == {"PATH": "/bin", "ANTHROPIC_BASE_URL": "http://x"}


def test_the_upstream_is_the_public_api_when_nothing_is_set() -> None:
    assert find_upstream({}) == find_upstream({"ANTHROPIC_BASE_URL": " "}) == PUBLIC_API


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("http://127.0.0.1:8801/", "http://127.0.0.1:8801"),
        ("https://gw.example/anthropic", "https://gw.example/anthropic"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_address_loses_only_its_last_slash(url: str, checked: str) -> None:
    assert find_upstream({"ANTHROPIC_BASE_URL": url}) == checked


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example",
        "api.anthropic.com",
        "https://",
        "http://host:port",
        "http://host:99999",
        "https://host/?key=1",
        "https://host/#part",
        "http://[::1",
        "unix:/run/model.sock",
    ],
)
def test_an_address_that_cannot_work_is_refused_with_a_way_out(url: str) -> None:
    with pytest.raises(InvalidUpstream, match="ANTHROPIC_BASE_URL"):
        find_upstream({"ANTHROPIC_BASE_URL": url})


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    for url in (f"https://user:{CANARY}@host", f"https://user:{CANARY}@host:port"):
        with pytest.raises(InvalidUpstream) as caught:
            check_upstream(url)
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "error", [InvalidUpstream("ftp://x", "is no address"), InvalidCredentials("A", "has no value")]
)
def test_errors_survive_pickling_and_exit_as_configuration_errors(error: AgentError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert copy.exit_code_of_command == 2


def test_a_proxy_is_taken_from_the_environment_but_never_for_this_machine() -> None:
    env = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "internal.example, .corp"}
    assert proxy_for("https://api.anthropic.com", env) == "http://proxy:3128"
    assert proxy_for("http://api.anthropic.com", env) is None
    assert proxy_for("https://internal.example", env) is None
    assert proxy_for("https://gw.corp/x", env) is None
    assert proxy_for("https://api.anthropic.com", {**env, "NO_PROXY": "*"}) is None
    for local in ("localhost", "127.0.0.1", "[::1]"):
        assert proxy_for(f"https://{local}:1", env) is None


def test_the_real_key_takes_the_place_of_every_key_the_client_sends() -> None:
    client = {"X-Api-Key": "placeholder", "Authorization": "Bearer other", "Cookie": "a=b"}
    for credentials, sent in (
        (Credentials("api_key", CANARY), {"x-api-key": CANARY}),
        (Credentials("auth_token", CANARY), {"authorization": f"Bearer {CANARY}"}),
    ):
        assert request_headers(client, credentials) == {"accept-encoding": "identity", **sent}


def test_only_headers_of_the_list_pass_up() -> None:
    client = {
        "Anthropic-Version": "2023-06-01",
        "X-Stainless-Arch": "x64",
        "X-Claude-Code-Session-Id": "s",
        "User-Agent": "claude-cli",
        "Host": "localhost",
        "X-Forwarded-For": "1.2.3.4",
        "Transfer-Encoding": "chunked",
        "Accept-Encoding": "gzip",
    }
    assert request_headers(client, Credentials("api_key", "k")) == {
        "anthropic-version": "2023-06-01",
        "x-stainless-arch": "x64",
        "x-claude-code-session-id": "s",
        "user-agent": "claude-cli",
        "accept-encoding": "identity",
        "x-api-key": "k",
    }


@pytest.mark.parametrize(
    ("sent", "merged"),
    [
        (None, "oauth-2025-04-20"),
        ("a-1, b-2", "a-1,b-2,oauth-2025-04-20"),
        ("oauth-2025-04-20,a-1", "oauth-2025-04-20,a-1"),
    ],
)
def test_a_login_adds_its_beta_to_the_clients_own(sent: str | None, merged: str) -> None:
    client = {} if sent is None else {"anthropic-beta": sent}
    assert request_headers(client, Credentials("oauth", "t"))["anthropic-beta"] == merged


def test_what_is_about_the_gateways_own_connection_does_not_pass_down() -> None:
    upstream = [
        ("Content-Type", "text/event-stream"),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Set-Cookie", "a=b"),
        ("anthropic-organization-id", "org"),
        ("retry-after", "2"),
        ("request-id", "req_1"),
    ]
    assert answer_headers(upstream) == [
        ("Content-Type", "text/event-stream"),
        ("retry-after", "2"),
        ("request-id", "req_1"),
    ]


def test_the_package_does_not_load_the_http_library() -> None:
    code = "import sys, understudy.actors.gateway; sys.exit('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    assert done.returncode == 0
