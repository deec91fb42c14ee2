"""Scenarios as Erlang's terms, which `otp_player.escript` reads."""

from __future__ import annotations

from typing import Any


def term(number: int, scenario: dict[str, Any]) -> str:
    """One scenario in one line."""
    supervisor = scenario["supervisor"]
    is_dynamic = supervisor["strategy"] == "dynamic"
    strategy = "simple_one_for_one" if is_dynamic else supervisor["strategy"]
    flags = (
        f"#{{strategy => {strategy}, intensity => {supervisor['intensity']}, "
        f"period => {supervisor['period']}, auto_shutdown => {supervisor['auto_shutdown']}}}"
    )
    # OTP's dynamic children are all made from one spec.
    children = [scenario["steps"][0]["start"]] if is_dynamic else supervisor["children"]
    parts = [str(number), flags, _list(_child(child) for child in children)]
    return f"{{{', '.join([*parts, _list(_step(step) for step in scenario['steps'])])}}}."


def _step(step: dict[str, Any]) -> str:
    match step:
        case {"exit": name, "reason": reason}:
            return f"{{exit, {name}, {reason}}}"
        case {"fail_start": name, "times": times}:
            return f"{{fail_start, {name}, {times}}}"
        case {"start": child}:
            return f"{{start, {_child(child)}}}"
        case {"together": steps}:
            return f"{{together, {_list(_step(part) for part in steps)}}}"
        case _:
            [(op, name)] = step.items()
            return f"{{{op}, {name}}}"


def _child(child: dict[str, Any]) -> str:
    return f"{{{child['id']}, {child['restart']}, {str(child['significant']).lower()}}}"


def _list(terms: Any) -> str:  # noqa: ANN401 - any strings
    return f"[{', '.join(terms)}]"
