"""How much of a rate limit the gateway makes use of, and what a storm of errors costs.

`python -m bench.gateway` runs ten streams of requests through a gateway with ten sockets against
the scripted model, which refuses what is over its limit as the API does. Nobody waits for a model:
what is measured is the gateway's own doing. `--speed`: what it adds to the first byte, how much it
passes, how large it becomes. `--agents 10`: the limit and the storm before real agents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from understudy.actors.gateway import Credentials
from understudy.actors.gateway.client import UpstreamClient
from understudy.actors.gateway.desk import Desk, DeskPlan, make_desk
from understudy.actors.gateway.doors import Doors
from understudy.actors.gateway.prices import load_prices
from understudy.fakeapi import FakeApiThread

from .gateway_agents import agents_at_a_limit, agents_in_a_storm
from .gateway_speed import first_byte, memory, throughput

_STREAMS = 10
_THINK_S = 0.3
_BODY_BYTES = 20_000
_MINUTE_S = 60.0


@dataclass
class Run:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    done_at: list[float] = field(default_factory=list[float])
    waits_s: list[float] = field(default_factory=list[float])


async def stream(path: str, run: Run, ends: float) -> None:
    """One client: a request after the other until the time is over."""
    script = json.dumps([{"text": "ok", "delay": _THINK_S}])
    text = f"{'x' * _BODY_BYTES} @@ {script} @@"
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path), timeout=timeout
    ) as session:
        while (asked := time.monotonic()) < ends:
            async with session.post("http://localhost/v1/messages", json=body) as answer:
                await answer.read()
                run.statuses[answer.status] += 1
                if time.monotonic() <= ends:
                    run.done_at.append(time.monotonic())
                    run.waits_s.append(time.monotonic() - asked)


async def through_a_gateway(folder: Path, url: str, seconds: float) -> tuple[Run, dict[str, Any]]:
    """Ten streams through one gateway for so long."""
    upstream = UpstreamClient(url, {})
    plan = DeskPlan(folder / "ledger.db", "bench", load_prices())
    key = Credentials("api_key", "bench")
    desk = make_desk(plan, upstream, key, lambda _report: None, rng=random.Random(1))
    doors = Doors(desk)
    run = Run()
    paths = [str(folder / f"{number}.sock") for number in range(_STREAMS)]
    for number, path in enumerate(paths):
        await doors.open(f"agent_{number:03d}", path)
    ends = time.monotonic() + seconds
    try:
        await asyncio.gather(*(stream(path, run, ends) for path in paths))
        shown = desk.gate.describe()
    finally:
        await close(desk, doors, upstream)
    return run, shown


async def close(desk: Desk, doors: Doors, upstream: UpstreamClient) -> None:
    """Leave nothing behind."""
    await doors.close_all()
    desk.gate.close()
    desk.accounts.close()
    await upstream.close()


def goodput(seconds: float, per_minute: float, *, headers: bool) -> dict[str, Any]:
    """The share of a fixed limit that was used."""
    burst = 0.1
    limits = {"requests_per_minute": per_minute, "burst": burst, "headers": headers}
    with FakeApiThread({"limits": limits}) as api, _folder() as name:
        run, shown = asyncio.run(through_a_gateway(Path(name), api.url, seconds))
        refused = sum(entry["ev"] == "refused" for entry in api.requests)
    # A full bucket at the start, and what flows in until the last answer can still be begun.
    possible = per_minute * burst + per_minute / _MINUTE_S * (seconds - _THINK_S)
    return {
        "what": "goodput" if headers else "goodput without headers",
        "seconds": seconds,
        "limit_per_minute": per_minute,
        "answered": len(run.done_at),
        "possible": round(possible, 1),
        "share": round(len(run.done_at) / possible, 4),
        "statuses": dict(run.statuses),
        "refused_by_api_of_last_1000": refused,
        "wait_p50_s": round(statistics.median(run.waits_s), 3),
        "wait_max_s": round(max(run.waits_s), 3),
        "gate": shown,
    }


def storm(seconds: float, status: int) -> dict[str, Any]:
    """Nothing but errors for a while: what the clients saw, and how soon all was well again."""
    weather = {"status": status, "seconds": seconds}
    with FakeApiThread({"storm": weather}) as api, _folder() as name:
        begun = time.monotonic()
        run, _ = asyncio.run(through_a_gateway(Path(name), api.url, seconds + 15.0))
        tries = sum(entry["ev"] == "refused" for entry in api.requests)
    return {
        "what": f"storm of {status}",
        "seconds": seconds,
        "statuses": dict(run.statuses),
        "refused_by_api": tries,
        "first_answer_after_storm_s": round(min(run.done_at) - begun - seconds, 2),
    }


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="us-bench-", dir="/tmp")


def main() -> None:
    """Parse the command line, measure, print a JSON line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each goodput run")
    parser.add_argument("--per-minute", type=float, default=600.0, help="requests a minute")
    parser.add_argument("--storm", type=float, default=60.0, help="seconds of the storm; 0: none")
    parser.add_argument("--no-headers", action="store_true", help="with silent limits too")
    parser.add_argument(
        "--speed", action="store_true", help="instead: first byte, throughput, memory"
    )
    parser.add_argument(
        "--agents", type=int, help="instead: so many real agents at the limit, then in the storm"
    )
    args = parser.parse_args()
    if args.agents:
        found = agents_at_a_limit(args.agents, args.per_minute, args.seconds)
        print(json.dumps(found), flush=True)
        if args.storm:
            print(json.dumps(agents_in_a_storm(args.agents, args.storm)), flush=True)
        return
    if args.speed:
        for found in (first_byte(1000), throughput(300_000_000), memory(50, 10.0)):
            print(json.dumps(found), flush=True)
        return
    print(json.dumps(goodput(args.seconds, args.per_minute, headers=True)), flush=True)
    if args.no_headers:
        print(json.dumps(goodput(args.seconds, args.per_minute, headers=False)), flush=True)
    if args.storm:
        print(json.dumps(storm(args.storm, 529)), flush=True)


if __name__ == "__main__":
    main()
