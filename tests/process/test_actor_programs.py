"""Programs that use actors whose classes are their own: the example, and the README's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_example_runs(tmp_path: Path) -> None:
    done = run(str(ROOT / "examples/actors.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("here 2\nthere 11\n")
    assert "there again 11" in done.stdout
    assert "incarnation 1: ended by signal SIGKILL" in done.stdout


def test_the_actors_of_the_readme_run(tmp_path: Path) -> None:
    (program,) = re.findall(r"```py\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "counting.py").write_text(program)
    for args in (("counting.py",), ("-m", "counting")):
        done = run(*args, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_a_class_that_is_in_no_file_is_refused(tmp_path: Path) -> None:
    program = (
        "from understudy import Actor, ActorSystem\n"
        "class A(Actor): pass\n"
        "with ActorSystem() as system:\n"
        "    system.spawn(A)\n"
        "    system.spawn(A, process=True)\n"
    )
    done = run("-c", program, cwd=tmp_path)
    assert done.returncode == 1
    assert "put it into a module" in done.stderr


TWO_CHILDREN = """
import os, sys
from understudy import Actor, ActorSystem

class Child(Actor):
    def on_receive(self, message):
        return message

    def ask_later(self, other, ready, done):
        # Opened for reading, a pipe waits for who opens it for writing.
        with open(ready) as pipe:
            pipe.read()
        total = sum(other.ask(n, timeout=10) == n for n in range(200))
        found = other.proxy().actor_urn.get(timeout=10) == other.actor_urn
        with open(done, "w") as pipe:
            pipe.write(f"{total} {found}")

if __name__ == "__main__":
    with ActorSystem() as system:
        one = system.spawn(Child, process=True)
        other = system.spawn(Child, process=True)
        asking = one.proxy().ask_later(other, sys.argv[1], sys.argv[2])
        print("asked", flush=True)
        asking.get(timeout=30)
"""


def test_children_ask_each_other_while_the_root_stands_still(tmp_path: Path) -> None:
    """Nor was there a link between them before: it is made without the root, too."""
    (tmp_path / "children.py").write_text(TWO_CHILDREN)
    ready, done = tmp_path / "ready", tmp_path / "done"
    os.mkfifo(ready)
    os.mkfifo(done)
    command = [sys.executable, "children.py", str(ready), str(done)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as root:
        assert root.stdout is not None
        assert root.stdout.readline() == "asked\n"
        try:
            with ready.open("w"):
                root.send_signal(signal.SIGSTOP)
            # Reading it here would have no time limit.
            told = subprocess.run(["cat", done], capture_output=True, timeout=30, check=True)
            assert told.stdout == b"200 True"
            root.send_signal(signal.SIGCONT)
            assert root.wait(30) == 0
        finally:
            root.kill()


MAILBOXES = """
import time
from understudy import DEAD_LETTERS, Actor, ActorSystem, MailboxFull, MailboxSpec, Overflow

def drain(ref):
    while len(ref.actor_inbox):
        time.sleep(0.001)

class Slow(Actor):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_receive(self, message):
        if message == "wait":
            open(GATE).read()
        elif message != "ready?":
            self.seen.append(message)

class Blocks(Slow):
    mailbox = MailboxSpec(max_messages=3, block_timeout_s=0.1)

class Rejects(Slow):
    mailbox = MailboxSpec(max_messages=3, overflow=Overflow.REJECT)

class Drops(Slow):
    mailbox = MailboxSpec(max_messages=3, overflow="drop_oldest")

class Ranked(Slow):
    mailbox = MailboxSpec(priority=lambda message: -message if isinstance(message, int) else 0)

if __name__ == "__main__":
    for kind in (Blocks, Rejects, Drops, Ranked):
        with ActorSystem() as system:
            ref = system.spawn(kind)
            ref.tell("wait")
            refused = 0
            drain(ref)
            for number in range(5):
                try:
                    ref.tell(number)
                except MailboxFull:
                    refused += 1
            open(GATE, "w").close()
            drain(ref)
            ref.ask("ready?", timeout=10)
            print(kind.__name__, refused, ref.proxy().seen.get(timeout=10))
    letters = [(letter.message, letter.reason) for letter in DEAD_LETTERS.letters()]
    print(letters, DEAD_LETTERS.counts())
    with ActorSystem() as system:
        again = system.spawn(Slow)
        print(DEAD_LETTERS.replay(lambda letter: again.tell(letter.message)), len(DEAD_LETTERS))
        again.ask("ready?", timeout=10)
        print(again.proxy().seen.get(timeout=10))
"""


def test_what_a_full_mailbox_does_is_chosen_by_public_names(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "boxes.py").write_text(f"GATE = {str(gate)!r}\n{MAILBOXES}")
    done = run("boxes.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Blocks 2 [0, 1, 2]",
        "Rejects 2 [0, 1, 2]",
        "Drops 0 [2, 3, 4]",
        "Ranked 0 [4, 3, 2, 1, 0]",
        "[(0, 'dropped'), (1, 'dropped')] {'dropped': 2}",
        "2 0",
        "[0, 1]",
    ]
    assert done.stderr.count("dead letter") == 2
