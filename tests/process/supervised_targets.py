"""Main functions of children for the tests of supervision: good ones, and each kind of bad."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.supervision import ChildContext, ChildEvent


def serve(context: ChildContext) -> None:
    """Be ready, and end when asked."""
    context.ready({"args": context.args, "incarnation": context.incarnation})
    context.stop_requested.wait()


def describe_self(context: ChildContext) -> None:
    """Tell what a child is made of."""
    context.ready(
        {
            "environment": dict(os.environ),
            "descriptors": _open_descriptors(),
            "main": getattr(sys.modules["__main__"], "__file__", None),
            "modules": list(sys.modules),
            "frozen": gc.get_freeze_count(),
            "collects": gc.isenabled(),
            "session": os.getsid(0),
            "core_bytes": resource.getrlimit(resource.RLIMIT_CORE)[0],
            "threads": [thread.name for thread in threading.enumerate()],
            "name": Path("/proc/self/comm").read_text(encoding="utf-8").strip(),
        }
    )
    context.stop_requested.wait()


def _open_descriptors() -> list[str]:
    found: list[str] = []
    for path in list(Path("/proc/self/fd").iterdir()):
        # The one that listed the folder is closed by now.
        with contextlib.suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return found


def run_a_program(context: ChildContext) -> None:
    """Tell which descriptors a program has for which the child closes none."""
    command = ["ls", "-l", "/proc/self/fd"]
    done = subprocess.run(command, close_fds=False, capture_output=True, text=True, check=True)
    context.ready({"descriptors": done.stdout})


def return_at_once(context: ChildContext) -> None:
    """Be ready, and done."""
    context.ready()


def raise_at_once(context: ChildContext) -> None:
    """Crash."""
    raise ValueError(f"no luck for {context.id}")


def exit_with(context: ChildContext) -> None:
    """Exit as the arguments say."""
    sys.exit(context.args["code"])


def fail_for_good(context: ChildContext) -> None:
    """Say that another start is no use; tidy up on the way out."""
    try:
        context.fail_permanently("auth", "the key is refused")
    finally:
        Path(context.args["tidied"]).touch()


def fail_with(context: ChildContext) -> None:
    """Say it with these words."""
    context.fail_permanently("auth", context.args["message"])


def fail_for_good_in_a_thread(context: ChildContext) -> None:
    """Say it from another thread."""
    threading.Thread(target=context.fail_permanently, args=("image", "no image")).start()
    threading.Event().wait()


def never_ready(context: ChildContext) -> None:
    """Hang before being ready."""
    context.stop_requested.wait()


def ready_twice(context: ChildContext) -> None:
    """Say it twice."""
    context.ready({"said": 1})
    context.ready({"said": 2})
    context.stop_requested.wait()


def late_for_the_stop(context: ChildContext) -> None:
    """Ask to be called only after the request is here."""
    context.stop_requested.wait()
    called = threading.Event()
    context.on_stop(called.set)
    sys.exit(0 if called.is_set() else 9)


def stop_by_callback(context: ChildContext) -> None:
    """End by what `on_stop` brings; a callback that fails does not keep the others from it."""
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    context.on_stop(_fail)
    context.on_stop(lambda: asked.put("stop"))
    context.ready()
    asked.get()


def _fail() -> None:
    raise ValueError("a bad callback")


def deaf(context: ChildContext) -> None:
    """Take no notice of a stop; tidy up when orphaned."""
    if tidied := context.args.get("tidied"):
        context.on_orphaned(Path(tidied).touch)
    context.ready()
    threading.Event().wait()


def slow_orphan(context: ChildContext) -> None:
    """Take for ever to tidy up."""
    context.on_orphaned(_stuck_here)
    context.ready()
    threading.Event().wait()


def hold_the_interpreter(context: ChildContext) -> None:
    """Let no other thread of this process run any more; ignore SIGTERM if so told."""
    if context.args.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.ready()
    ctypes.PyDLL(None).sleep(600)


def loop_that_answers(context: ChildContext) -> None:
    """Answer pings in the main loop."""
    calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    context.set_liveness(calls.put)
    context.on_stop(lambda: calls.put(None))
    context.ready()
    answers = 0
    while (call := calls.get()) is not None:
        call()
        answers += 1
    Path(context.args["answers"]).write_text(str(answers), encoding="utf-8")


def loop_that_is_stuck(context: ChildContext) -> None:
    """Take pings and answer none."""
    context.set_liveness(lambda _: None)
    context.ready()
    _stuck_here()


def _stuck_here() -> None:
    threading.Event().wait()


def leave_a_process(context: ChildContext) -> None:
    """Leave a grandchild behind."""
    grandchild = subprocess.Popen(["sleep", "600"])
    context.ready({"grandchild": grandchild.pid})
    context.stop_requested.wait()


def supervise(context: ChildContext) -> None:
    """Be the parent of a supervisor with a fork server and a child of its own."""
    from understudy.supervision import (  # noqa: PLC0415 - the other children need none of it
        ChildSpec,
        ForkServer,
        Supervisor,
        SupervisorSpec,
    )

    events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
    rules = SupervisorSpec("inner", children=(ChildSpec("grandkid", "supervised_targets:serve"),))
    forks = ForkServer(("supervised_targets",))
    forks.start()
    Supervisor.start(rules, forks, events.put)
    while (event := events.get(timeout=30)).kind != "ready":
        pass
    context.ready({"grandchild": event.info["pid"]})
    context.stop_requested.wait()


def speak(context: ChildContext) -> None:
    """Write to both streams."""
    sys.stdout.write("on stdout\n")
    sys.stderr.write("on stderr\n")
    context.ready()


def spend(context: ChildContext) -> None:
    """Spend what the arguments say, and work on until asked to end."""
    context.ready()
    context.spent(context.args["amount"])
    context.stop_requested.wait()


def fail_until(context: ChildContext) -> None:
    """Fail for a reason that is not its own fault, until the incarnation of the arguments."""
    if context.incarnation < context.args["incarnation"]:
        context.fail("rate_limited", "come back later")
    context.ready()
    context.stop_requested.wait()


def hold_resource(context: ChildContext) -> None:
    """Own something that others need: a listening socket."""
    path = Path(context.args["path"])
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        context.ready()
        context.stop_requested.wait()


def use_resource(context: ChildContext) -> None:
    """Need it: without it there is no start."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(context.args["path"])
        context.ready()
        context.stop_requested.wait()
