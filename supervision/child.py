"""The life of a child process, from just after its fork to its exit code."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import logging
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .context import ChildContext
from .control import EXIT_CRASH, EXIT_ORPHANED, READ_BYTES, ControlReader

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

_STDERR_FD = 2
_COMM_BYTES = 15
_DETAIL_CHARS = 2000


def run_child(control: socket.socket) -> int:
    """Be the child that the parent describes over `control`; its exit code.

    Runs in the main thread of a freshly forked, single-threaded process. The caller ends the
    process with `os._exit`: threads that the target left are not waited for.
    """
    _become_own_process()
    reader = ControlReader()
    records = _first_records(control, reader)
    if not records:
        return EXIT_ORPHANED
    # What came with the start record, a stop for instance, must not be lost.
    start, *early = records
    _settle(start)
    context = ChildContext(start, control)
    context.start_reading(reader, early)
    code = _run_target(context, start["target"])
    context.say_bye(code)
    _flush()
    return code


def _become_own_process() -> None:
    # Its own group: the fork server kills what is left of it, a terminal's Ctrl-C misses it.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A core file would hold what the child's memory holds: keys, conversations.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    gc.enable()


def _first_records(control: socket.socket, reader: ControlReader) -> list[dict[str, Any]]:
    while data := control.recv(READ_BYTES):
        if records := reader.feed(data):
            return records
    return []


def _settle(start: Mapping[str, Any]) -> None:
    os.environ.update(start["env"])
    if start["log_path"]:
        log_fd = os.open(start["log_path"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log_fd, sys.stdout.fileno())
        os.dup2(log_fd, _STDERR_FD)
        os.close(log_fd)
    # On SIGABRT, which a hung child gets, every thread's stack goes to the log.
    faulthandler.enable(_STDERR_FD, all_threads=True)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_bytes(start["id"].encode()[:_COMM_BYTES])


def _run_target(context: ChildContext, target: str) -> int:
    try:
        function = _find(context, target)
        function(context)
    except SystemExit as request:
        return _exit_code(context, request.code)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
        last_line = traceback.format_exception_only(error)[-1].strip()
        _log.critical("child %s ends by an error", context.id, exc_info=True)
        context.report_failure(last_line[:_DETAIL_CHARS])
        return EXIT_CRASH
    return 0


def _find(context: ChildContext, target: str) -> Callable[[ChildContext], None]:
    module_name, _, name = target.partition(":")
    try:
        function: Callable[[ChildContext], None] = getattr(
            importlib.import_module(module_name), name
        )
    except (ImportError, AttributeError) as error:
        _log.critical("child %s has no %s", context.id, target, exc_info=True)
        context.fail_permanently("config", f"its target {target} cannot be found: {error}")
    return function


def _exit_code(context: ChildContext, code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    # As the interpreter does: a text is the message, and the code is 1.
    context.report_failure(str(code)[:_DETAIL_CHARS])
    return EXIT_CRASH


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
