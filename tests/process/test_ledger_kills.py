"""The ledger against the API's own record, after SIGKILL of the gateway and of the service.

What must hold, whatever is killed when:

- Every request that the API was asked is a row; a row without a request is one that was killed
  between the two.
- A row that is `done` says exactly what the API answered. Whatever a client has seen to its end is
  such a row.
- What the API was asked and no `done` row tells is a `cut` row, which counts as no less.
- So the ledger's sum is the API's when nothing was cut, and never less.

`LEDGER_SEEDS=40` tries so many seeds; each kills seven times.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest

from understudy.actors.gateway.ledger import Ledger, Spent
from understudy.actors.gateway.prices import load_prices
from understudy.actors.gateway.usage import Usage
from understudy.fakeapi import FakeApiThread

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = Path(__file__).with_name("ledger_service.py")
SEEDS = int(os.environ.get("LEDGER_SEEDS", "2"))
KILLS = 7
CLIENTS = 4
LIMIT_S = 30.0
MODEL = "claude-sonnet-4-5"
MAX_TOKENS = 1000


class Service:
    """The service and its gateway, and their ends."""

    def __init__(self, folder: Path, **args: Any) -> None:  # noqa: ANN401 - of the gateway
        agents = {f"agent_{n:03d}": str(folder / f"{n}.sock") for n in range(CLIENTS)}
        command = [sys.executable, str(SERVICE), str(folder), json.dumps({"agents": agents} | args)]
        self._command = command
        self.is_up = threading.Event()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate(timeout=LIMIT_S)

    def kill_gateway(self) -> None:
        self.is_up.clear()
        os.kill(self._gateway.pid, signal.SIGKILL)
        self._hear()

    def kill(self) -> None:
        """The service dies; whatever was its own ends with it, and it is started again."""
        self.is_up.clear()
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        self._close_pipes()
        _, alive = psutil.wait_procs(family, timeout=LIMIT_S)
        assert not alive
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._hear()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        self._gateway = psutil.Process(int(self._process.stdout.readline()))
        self.is_up.set()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@dataclass
class Client:
    """Asks one request after the other; each is told apart by the tokens of its answer."""

    path: str
    numbers: Iterator[int]
    rng: random.Random
    is_up: threading.Event
    is_over: threading.Event
    seen: list[int] = field(default_factory=list[int])
    refused: int = 0

    def run(self) -> None:
        while not self.is_over.is_set():
            self.is_up.wait(LIMIT_S)
            number = next(self.numbers)
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, text = self._ask(number)
                if status == 402:
                    self.refused += 1
                    return
                if status == 200 and ("message_stop" in text or text.endswith("}}")):
                    self.seen.append(number)

    def _ask(self, number: int) -> tuple[int, str]:
        step = {
            "text": "a story",
            "delay": round(self.rng.uniform(0, 0.02), 4),
            "slow": 0.003,
            "usage": {"input_tokens": self.rng.randrange(1, 200), "output_tokens": number},
        }
        body = {
            "model": MODEL,
            "stream": self.rng.random() < 0.8,
            "max_tokens": MAX_TOKENS,
            "messages": [{"role": "user", "content": f"@@ {json.dumps([step])} @@"}],
        }
        connection = http.client.HTTPConnection("localhost", timeout=LIMIT_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(LIMIT_S)
        with contextlib.closing(connection):
            connection.sock.connect(self.path)
            connection.request("POST", "/v1/messages", json.dumps(body))
            answer = connection.getresponse()
            try:
                return answer.status, answer.read().decode()
            except http.client.IncompleteRead as error:
                return answer.status, error.partial.decode()


def seeded(*what: object) -> random.Random:
    return random.Random(repr(what))  # noqa: S311 - no secret


def clients_of(service: Service, folder: Path, seed: int, over: threading.Event) -> list[Client]:
    numbers = itertools.count(1)
    return [
        Client(str(folder / f"{n}.sock"), numbers, seeded(seed, n), service.is_up, over)
        for n in range(CLIENTS)
    ]


def play(service: Service, folder: Path, seed: int) -> list[Client]:
    """Kill at moments that the seed chooses, while all clients ask."""
    rng, over = seeded(seed, "kills"), threading.Event()
    clients = clients_of(service, folder, seed, over)
    threads = [threading.Thread(target=c.run, name="understudy-test-client") for c in clients]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0, 0.15))
            (service.kill if rng.random() < 0.15 else service.kill_gateway)()
    finally:
        over.set()
        for thread in threads:
            thread.join(LIMIT_S)
    return clients


def answered(api: FakeApiThread) -> dict[int, Usage]:
    """What the API was asked, by number, with the tokens that it answers."""
    found: dict[int, Usage] = {}
    for entry in api.requests:
        usage = entry["step"]["usage"]
        assert usage["output_tokens"] not in found, "asked twice"
        found[usage["output_tokens"]] = Usage(usage["input_tokens"], usage["output_tokens"])
    assert len(found) < 1000, "the record has lost some"
    return found


def rows_of(folder: Path) -> list[sqlite3.Row]:
    with contextlib.closing(sqlite3.connect(folder / "ledger.db")) as db:
        db.row_factory = sqlite3.Row
        sql = (
            "SELECT asks.*, counted.tokens, counted.dollars AS counted_dollars"
            " FROM asks JOIN counted USING (ask_id)"
        )
        return db.execute(sql).fetchall()


def sums_of(folder: Path) -> Spent:
    ledger = Ledger(folder / "ledger.db")
    try:
        return ledger.of_fleet("service")
    finally:
        ledger.close()


def usd(usage: Usage) -> float:
    cost = load_prices().cost_usd(MODEL, usage)
    assert cost is not None
    return cost


def check(folder: Path, asked: dict[int, Usage], seen: set[int]) -> None:
    rows = rows_of(folder)
    assert {row["state"] for row in rows} <= {"done", "cut"}
    done = {row["output_tokens"]: row for row in rows if row["state"] == "done"}
    cut = [row for row in rows if row["state"] == "cut"]
    assert len(done) + len(cut) == len(rows)
    assert seen <= done.keys() <= asked.keys()
    for number, row in done.items():
        assert row["tokens"] == asked[number].tokens
        assert row["counted_dollars"] == pytest.approx(usd(asked[number]))
    unseen = [usage for number, usage in asked.items() if number not in done]
    assert len(unseen) <= len(cut) <= KILLS * CLIENTS
    # Those that had told their input may write as much as was asked for; the others more yet.
    for row in cut:
        assert row["tokens"] >= row["input_tokens"] + MAX_TOKENS
        assert row["counted_dollars"] >= usd(Usage(row["input_tokens"], MAX_TOKENS))
    sums = sums_of(folder)
    assert (sums.asks, sums.cut) == (len(rows), len(cut))
    least = [usage.tokens for usage in asked.values()]
    assert sums.tokens >= sum(least)
    assert sums.dollars >= sum(map(usd, asked.values()))
    if not cut:
        assert sums.tokens == sum(least)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_kills_at_any_moment_the_ledger_tells_no_less_than_the_api(
    tmp_path: Path, seed: int
) -> None:
    with FakeApiThread(unix=tmp_path / "model.sock") as api:
        with Service(tmp_path) as service:
            clients = play(service, tmp_path, seed)
        asked = answered(api)
    check(tmp_path, asked, {number for client in clients for number in client.seen})


@pytest.mark.parametrize("seed", range(SEEDS))
def test_kills_do_not_let_more_pass_than_one_answer_over_a_budget(
    tmp_path: Path, seed: int
) -> None:
    cap = 40_000
    with FakeApiThread(unix=tmp_path / "model.sock") as api:
        with Service(tmp_path, budget={"fleet": {"tokens": cap}}) as service:
            play(service, tmp_path, seed)
            # Whatever is left of it is used up now.
            over = threading.Event()
            for client in clients_of(service, tmp_path, seed + 1000, over):
                client.numbers = itertools.repeat(500)
                client.run()
                assert client.refused == 1
        used = [entry["step"]["usage"] for entry in api.requests]
    tokens = [usage["input_tokens"] + usage["output_tokens"] for usage in used]
    assert sum(tokens) < cap + max(tokens)
