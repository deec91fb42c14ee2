"""The rules of `deny`: what the CLI would take without a word and never match. Pure."""

from __future__ import annotations

import re
from typing import get_args

from ..settings import TEAM_TOOLS, ToolName
from ..tasks.validate import nearest_of

# As `actors/claude/tools.py` names them, which takes long to load.
_BUS = "mcp__bus"
_TEAM_RULES = (_BUS, f"{_BUS}__*", *(f"{_BUS}__{name}" for name in TEAM_TOOLS))
# The CLI has them and agents do not: a rule that denies them too says what is so.
_ABSENT = ("Agent", "MultiEdit", "Task", "TodoWrite", "WebFetch", "WebSearch")
_TOOLS = (*get_args(ToolName), *_TEAM_RULES)
_ESCAPED = re.compile(r"\\.")


def fault_of_rule(rule: str) -> str | None:
    """What is wrong with a rule, and how to mend it; None when nothing is."""
    name, paren, spec = rule.partition("(")
    if name not in _TOOLS + _ABSENT:
        near = nearest_of(name.strip(), _TOOLS)
        hint = f"; did you mean {near}?" if near else f" ({', '.join(_TOOLS)})"
        return f"{rule!r} names no tool that agents have{hint}"
    if not paren:
        return None
    if name in _TEAM_RULES:
        return f"{rule!r}: a tool of the team takes nothing in parentheses"
    if not _is_closed(spec):
        return f"{rule!r} is not closed: one ')' at its end for the first '('"
    if not spec[:-1].strip():
        return f"{rule!r} says nothing in its parentheses; {name} alone denies every call"
    return None


def _is_closed(spec: str) -> bool:
    """Whether the parenthesis before this text is closed at its very end, and not before."""
    depth = 1
    plain = _ESCAPED.sub("", spec)
    for index, char in enumerate(plain):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return index == len(plain) - 1
    return False
