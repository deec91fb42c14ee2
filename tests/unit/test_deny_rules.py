"""Rules of `deny` that would never match are refused."""

from __future__ import annotations

import pytest

from understudy.actors.claude.tools import tool_names
from understudy.actors.settings import TEAM_TOOLS
from understudy.actors.team.deny_rules import fault_of_rule


@pytest.mark.parametrize(
    "rule",
    [
        "Bash",
        "Bash(rm *)",
        "Bash(git push:*)",
        "Bash(echo (a) (b))",
        r"Bash(echo \) x)",
        "Read(/work/.env)",
        "WebFetch",
        "WebFetch(domain:example.com)",
        "mcp__bus",
        "mcp__bus__*",
        *tool_names(TEAM_TOOLS),
    ],
)
def test_what_the_cli_can_match_is_taken(rule: str) -> None:
    assert fault_of_rule(rule) is None


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("Bsh(rm *)", "did you mean Bash?"),
        (" Bash", "did you mean Bash?"),
        ("bash(rm *)", "names no tool"),
        ("", "names no tool"),
        ("WebFtech", "names no tool that agents have"),
        ("mcp__bus__ask_agnet", "did you mean mcp__bus__ask_agent?"),
        ("mcp__bus__ask_agent(x)", "nothing in parentheses"),
        ("Bash(rm *", "not closed"),
        ("Bash(rm *))", "not closed"),
        ("Bash(rm *) x", "not closed"),
        ("Bash(a) (b)", "not closed"),
        (r"Bash(rm \)", "not closed"),
        ("Bash()", "Bash alone denies every call"),
    ],
)
def test_what_would_match_nothing_is_refused_with_the_nearest(rule: str, says: str) -> None:
    assert says in str(fault_of_rule(rule))
