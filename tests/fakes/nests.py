"""Lists in lists, deeper than most programs go."""

from typing import cast


def nest(depth: int) -> object:
    """A list in a list, and so on."""
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def depth_of(value: object) -> int:
    """How many lists lie in each other; without recursion."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        inner = cast("list[object]", value)
        value = inner[0] if inner else None
    return depth
