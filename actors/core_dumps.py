"""A core dump is the memory of a process in a file: of one that has a key, none is made."""

from __future__ import annotations

import resource

# To a file the kernel writes none that is so small, and to a program (core_pattern "|…") none at
# this one limit, which for a program it would else not heed: do_coredump in fs/coredump.c.
_NONE_BYTES = 1


def forbid_core_dumps() -> None:
    """Leave no core of this process, nor of those that it starts."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limit = _NONE_BYTES if hard == resource.RLIM_INFINITY else min(_NONE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
