"""What an agent may give away: no more than it may do itself. Pure.

A task that an agent gives away carries what was withheld from its giver: `write` (nothing that
writes or runs commands), `unasked` (such calls wait for somebody's yes), and the CLI's rules that
are denied. `egress` is no way to other hosts: it is withheld where the other's role would reach
some that the giver's cannot. All of it holds for whatever is given away further down, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..tasks.types import ACTING_TOOLS

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..tasks.types import TaskType

WRITE = "write"
UNASKED = "unasked"
EGRESS = "egress"
_WORDS = (WRITE, UNASKED, EGRESS)


def withheld_from(kind: TaskType, already: Collection[str]) -> list[str]:
    """What may not be done by the tasks that one of this type gives away.

    Args:
        kind: how the giver's own task is done.
        already: what was withheld from that task itself; it stays so whatever the settings say.
    """
    manner = kind.manner
    if manner.delegates_freely:
        return list(already)
    own = [*([WRITE] if kind.read_only else []), *([UNASKED] if manner.asks else [])]
    return list(dict.fromkeys([*already, *own, *manner.denied]))


def narrowed(kind: TaskType, withheld: Collection[str]) -> TaskType:
    """The task type without what is withheld; itself when that takes nothing from it."""
    tools = kind.tools
    if WRITE in withheld:
        tools = tuple(tool for tool in tools if tool not in ACTING_TOOLS)
    manner = kind.manner
    must_ask = UNASKED in withheld and not manner.asks and bool(ACTING_TOOLS.intersection(tools))
    # Only a command can make use of a way out.
    stays_in = EGRESS in withheld and "Bash" in tools
    rules = [r for r in withheld if r not in _WORDS and r not in manner.denied]
    taken = (
        *([WRITE] if tools != kind.tools else []),
        *([UNASKED] if must_ask else []),
        *([EGRESS] if stays_in else []),
        *sorted(rules),
    )
    if not taken:
        return kind
    denied = (*manner.denied, *sorted(rules))
    manner = replace(manner, asks=manner.asks or must_ask, denied=denied, withheld=taken)
    return replace(kind, tools=tools, manner=manner)
