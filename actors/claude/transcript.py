"""Home hygiene: what a finished conversation leaves in the CLI's home, and whether it is all gone.

Seen in 2.1.197 and 2.1.330 with tools that only read: the conversation's text is in its file
`.claude/projects/-work/<session>.jsonl` and in the folder of the same name, which holds tool
results too large for the conversation. Nothing else in home, and nothing in `/tmp`, has any.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, cast

from .errors import ClaudeUnresponsive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_PROJECT = ".claude/projects/-work"
_POLL_S = 0.002
_TAIL_BYTES = 4096

# The CLI's own files, which are rewritten at any time.
_STATE_FILES = re.compile(
    r"\.claude\.json"
    r"|\.claude/backups/\.claude\.json\.backup\.\d+"
    r"|\.claude/sessions/\d+(\.[0-9a-f]+)?\.(json|key)"
    r"|\.claude/plugins/store/[\w.-]+\.json"
)
_FOLDERS = frozenset(
    {
        ".claude",
        ".claude/backups",
        ".claude/plugins",
        ".claude/plugins/store",
        ".claude/projects",
        _PROJECT,
        ".claude/sessions",
    }
)
# There for a millisecond or two while a state file is rewritten.
_REWRITING = re.compile(r"(\.claude\.json|\.claude/[\w./-]+\.json)\.(lock|tmp\.[\w.-]+)")
_REWRITE_S = 0.25
_STAMP_FILE = ".claude/.last-cleanup"
_STAMP = re.compile(rb"[\dT:.Z-]{0,40}")
# Text in a state file is only expected here: names, ids and versions that no conversation decides.
_KNOWN_TEXTS = frozenset(
    {
        "cwd",
        "entrypoint",
        "firstStartTime",
        "firstStartVersion",
        "kind",
        "lastSessionId",
        "lastVersionBase",
        "machineID",
        "messagingSocketPath",
        "name",
        "nameSource",
        "peerFeatures",
        "peerToken",
        "pidDomain",
        "procStart",
        "sessionId",
        "status",
        "usage-rows-queued",
        "userID",
        "version",
    }
)


def settle_and_archive(
    home: Path,
    session_id: str,
    archive_dir: Path,
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Path | None:
    """Move a conversation that `/clear` has ended out of home, once the CLI has written all of it.

    The last thing the CLI writes to it is that it took the `/clear`. With `CLAUDE_CODE_EAGER_FLUSH`
    that is there when `/clear` is answered; without, 2.1.197 writes it about 70 ms later.
    What was moved could be resumed from `archive_dir`.

    Returns:
        Where the transcript now is; None when the conversation never had one.

    Raises:
        ClaudeUnresponsive: the transcript's end did not come in time; nothing was moved.
        OSError: it could not be moved.
    """
    project = home / _PROJECT
    transcript = project / f"{session_id}.jsonl"
    deadline = clock() + timeout_s
    while not _is_settled(transcript):
        if clock() >= deadline:
            if not transcript.exists():
                return None
            raise ClaudeUnresponsive("finish its transcript", timeout_s)
        sleep(_POLL_S)
    archive_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = archive_dir / transcript.name
    shutil.move(transcript, kept)
    aside = project / session_id
    if aside.is_dir() and not aside.is_symlink():
        shutil.move(aside, archive_dir / session_id)
    return kept


def leftovers(
    home: Path,
    current_session_id: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """What is in home besides the CLI's own state and the transcript of the current conversation.

    A state file that holds a text where none is expected is named too, so that a release that keeps
    prompts in one does not pass. A rewrite of such a file that is under way is waited for, at most
    0.25 s. An empty list is the condition for using a container again.
    """
    deadline = clock() + _REWRITE_S
    current = f"{_PROJECT}/{current_session_id}.jsonl"
    while True:
        found = {os.path.relpath(entry.path, home): entry for entry in _walk(home)}
        is_quiet = not any(_REWRITING.fullmatch(name) for name in found)
        if is_quiet or clock() >= deadline:
            break
        sleep(_POLL_S)
    left = [name for name, entry in found.items() if not _is_expected(entry, name)]
    return sorted(home / name for name in left if name != current)


def _is_settled(transcript: Path) -> bool:
    """Whether the transcript's end says that `/clear` was put in line and taken out of it."""
    ending = [_record(line) for line in _tail(transcript).splitlines()]
    for i, record in enumerate(ending):
        if record.get("operation") == "enqueue" and record.get("content") == "/clear":
            return any(later.get("operation") == "dequeue" for later in ending[i:])
    return False


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""


def _record(line: bytes) -> dict[str, Any]:
    try:
        record: Any = json.loads(line)
    except ValueError:
        return {}  # the first line of the tail is rarely whole, the last may be half written
    return cast("dict[str, Any]", record) if isinstance(record, dict) else {}


def _walk(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            inside = list(entries)
    except FileNotFoundError:
        return  # a lock folder that the CLI removed in the meantime
    for entry in inside:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)


def _is_expected(entry: os.DirEntry[str], name: str) -> bool:
    if entry.is_dir(follow_symlinks=False):
        return name in _FOLDERS
    if not entry.is_file(follow_symlinks=False):
        return False
    try:
        with open(entry.path, "rb") as file:  # noqa: PTH123 - the entry is at hand
            content = file.read()
    except FileNotFoundError:
        return True  # it is gone, and leaves nothing
    if name == _STAMP_FILE:
        return bool(_STAMP.fullmatch(content.strip()))
    return bool(_STATE_FILES.fullmatch(name)) and _is_free_of_texts(content)


def _is_free_of_texts(content: bytes) -> bool:
    try:
        return not any(_unexpected_texts(json.loads(content), ""))
    except ValueError:
        return False


def _unexpected_texts(value: Any, key: str) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _unexpected_texts(inner, name)
    elif isinstance(value, list):
        for inner in cast("Iterable[Any]", value):
            yield from _unexpected_texts(inner, key)
    elif isinstance(value, str) and key not in _KNOWN_TEXTS:
        yield value
