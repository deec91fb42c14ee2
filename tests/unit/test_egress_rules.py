from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.actors.egress.addresses import is_public, may_connect
from understudy.actors.egress.rules import AllowList, Host, InvalidEgress, parse_host, ways_of
from understudy.config import ConfigurationError, load

ALLOWED = AllowList(
    "egress.allow",
    ["example.org", "git.example.org:8443", "*.packages.example", "127.0.0.1:8001", "[::1]:8002"],
)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.org", Host("example.org", 443)),
        (" Example.ORG.:8443 ", Host("example.org", 8443)),
        ("*.example.org", Host("*.example.org", 443)),
        ("127.0.0.1", Host("127.0.0.1", 443)),
        ("[2001:db8::1]:80", Host("2001:db8::1", 80)),
        ("::1", Host("::1", 443)),
        ("localhost:1", Host("localhost", 1)),
    ],
)
def test_a_host_is_a_name_and_a_port_and_the_usual_port_is_that_of_https(
    text: str, host: Host
) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "*.org", "a.*.org", "*example.org", "https://example.org", "example.org/x"),
        *("example.org:", "example.org:0", "example.org:65536", "example.org:x", "a b.org"),
        *("-a.org", "a..org", "ex\u00e4mple.org", "127.1", "0x7f.1", "2130706433", "a@b.org"),
        *(
            "a.org:443:443",
            "[::1",
            "a" * 64 + ".org",
            "a.org\n",
            "a.org\t",
            "a.org\r\nx: y",
            "a.org:\u0664",
        ),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        parse_host(text)


@given(st.text(max_size=40))
def test_any_text_is_a_host_or_refused(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert parse_host(str(host)) == host


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("example.org:443", None),
        ("EXAMPLE.org:443", None),
        ("git.example.org:8443", None),
        ("a.packages.example:443", None),
        ("a.b.packages.example:443", None),
        ("127.0.0.1:8001", None),
        ("[::1]:8002", None),
        ("example.org:80", "egress.allow names example.org with port 443, not 80"),
        ("www.example.org:443", "egress.allow does not name www.example.org:443"),
        ("packages.example:443", "egress.allow does not name packages.example:443"),
        ("evilpackages.example:443", "egress.allow does not name evilpackages.example:443"),
        ("*.packages.example:443", "*.packages.example:443 is no host"),
        ("127.0.0.1:8002", "egress.allow names 127.0.0.1 with port 8001, not 8002"),
    ],
)
def test_only_what_is_named_may_be_reached_and_who_is_refused_learns_the_setting(
    wanted: str, why: str | None
) -> None:
    assert ALLOWED.why_not(parse_host(wanted, port=None)) == why


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((a, True) for a in ("93.184.215.14", "1.1.1.1", "2606:4700::1", "::ffff:1.1.1.1")),
        *((a, False) for a in ("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1")),
        *((a, False) for a in ("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192")),
        *((a, False) for a in ("168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1")),
        *((a, False) for a in ("::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1", "fec0::1")),
        *((a, False) for a in ("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1")),
        *((a, False) for a in ("2002:7f00:1::", "2001::1", "2001:db8::1", "198.18.0.1")),
    ],
)
def test_only_hosts_of_the_public_network_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    ("address", "may"),
    [("10.0.0.7", True), ("::ffff:10.0.0.7", True), ("10.1.0.7", False), ("1.1.1.1", True)],
)
def test_an_address_that_is_named_may_be_private(address: str, may: bool) -> None:
    assert may_connect(ip_address(address), [ip_network("10.0.0.0/24")], ()) is may


def test_this_machine_is_not_reached_by_its_public_address_either() -> None:
    own = ip_address("1.2.3.4")
    assert not may_connect(own, [], [own])
    assert not may_connect(ip_address("::ffff:1.2.3.4"), [], [own])
    assert may_connect(own, [ip_network("1.2.3.4")], [own])


# -- settings --------------------------------------------------------------------------------


def settings(**values: Any) -> Any:  # noqa: ANN401 - the settings' own type
    return load(overrides=values).settings


def test_without_settings_nobody_reaches_anything() -> None:
    assert ways_of(settings()) == {}


def test_a_role_reaches_what_it_says_else_what_all_may_reach() -> None:
    made = settings(
        **{
            "egress.allow": ["example.org"],
            "roles.offline.egress": [],
            "roles.builder.egress": ["packages.example:8443"],
            "roles.reviewer.tasks": ["code_review"],
        }
    )
    ways = ways_of(made)
    assert {name: (way.setting, list(way)) for name, way in ways.items()} == {
        "": ("egress.allow", ["example.org:443"]),
        "builder": ("roles.builder.egress", ["packages.example:8443"]),
        "reviewer": ("egress.allow", ["example.org:443"]),
    }


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("egress.allow", ["https://example.org"], "is not a host such as"),
        ("roles.builder.egress", ["*.org"], "is not a host such as"),
        ("egress.allow_addresses", ["10.0.0.1/8"], "has host bits set"),
        ("egress.allow_addresses", ["home"], "such as 10.0.0.0/8"),
        ("egress.allow", [7], "a list of hosts"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_by_name(key: str, value: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        settings(**{key: value})
    assert caught.value.key == key


def test_the_error_survives_pickling_and_exits_as_a_configuration_error() -> None:
    error = InvalidEgress("egress.allow", "no")
    assert (str(error), error.exit_code_of_command) == ("egress.allow: no", 2)
