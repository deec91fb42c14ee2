"""Budgets, prices and the ledger: what may be spent, what it costs, what is remembered."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.actors.gateway.accounts import Accounts, InvalidWants, Wants
from understudy.actors.gateway.budget import Account, Budget, BudgetPlan, Caps, OverBudget
from understudy.actors.gateway.ledger import Ledger, Most, Spent
from understudy.actors.gateway.ledger_file import LedgerError
from understudy.actors.gateway.prices import InvalidPrices, load_prices
from understudy.actors.gateway.usage import Usage

A, B = Account("agent_a", "t1"), Account("agent_b", "t2")
MILLION = 1_000_000


def budget(**caps: Caps) -> Budget:
    return Budget(BudgetPlan(**caps))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - by scope


# -- what may pass ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caps", "spent", "shown"),
    [
        (Caps(dollars=1.0), Spent(dollars=1.0), "$1.0000 of $1.0000 (budget.task_dollars)"),
        (Caps(tokens=1000), Spent(tokens=1500), "1,500 tokens of 1,000 tokens"),
        (Caps(turns=2), Spent(turns=2), "2 turns of 2 turns (budget.task_turns)"),
        (Caps(seconds=60.0), Spent(seconds=61.0), "61 s of 60 s (budget.task_seconds)"),
    ],
)
def test_a_task_whose_budget_is_used_up_is_refused_with_the_numbers(
    caps: Caps, spent: Spent, shown: str
) -> None:
    made = budget(task=caps)
    made.check(A, 0.0)
    made.reserve(1, A, Spent())
    made.settle(1, A, 0.0, spent)
    with pytest.raises(OverBudget, match="understudy budget: task t1 has used") as caught:
        made.check(A, 0.0)
    assert shown in caught.value.message
    made.check(B, 0.0)


def test_the_budgets_of_agent_and_fleet_hold_beside_the_tasks() -> None:
    made = budget(agent=Caps(turns=1), fleet=Caps(turns=2))
    made.settle(1, A, 0.0, Spent(turns=1))
    with pytest.raises(OverBudget, match="agent_a has used"):
        made.check(A, 0.0)
    made.settle(2, B, 0.0, Spent(turns=1))
    with pytest.raises(OverBudget, match="the fleet has used"):
        made.check(Account("agent_c"), 0.0)


def test_what_was_spent_before_the_window_counts_for_the_task_alone() -> None:
    made = Budget(BudgetPlan(Caps(turns=2), Caps(turns=1), Caps(turns=1), window_s=10.0))
    made.settle(1, A, 0.0, Spent(turns=1))
    with pytest.raises(OverBudget):
        made.check(A, 9.0)
    made.check(A, 11.0)
    made.settle(2, A, 11.0, Spent(turns=1))
    with pytest.raises(OverBudget, match="task t1"):
        made.check(A, 30.0)


def test_a_caps_of_the_task_itself_takes_the_place_of_the_configured_one() -> None:
    made = budget(task=Caps(turns=1))
    rich = Account("agent_a", "t1", Caps(turns=3))
    made.settle(1, rich, 0.0, Spent(turns=2))
    made.check(rich, 0.0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400), st.booleans()), max_size=60),
    st.integers(1, 1000),
)
def test_a_cap_is_passed_by_one_request_at_most(
    steps: list[tuple[int, int, bool]], cap: int
) -> None:
    """Four agents at once; each request costs what was reserved for it, or less."""
    made = budget(fleet=Caps(tokens=cap))
    on_way: dict[int, tuple[Account, int]] = {}
    total, largest = 0, 0
    for number, (agent, most, ends) in enumerate(steps):
        account = Account(f"agent_{agent}")
        try:
            made.check(account, 0.0)
            if made.has_room(account, Spent(tokens=most)):
                made.reserve(number, account, Spent(tokens=most))
                on_way[number] = (account, most)
                largest = max(largest, most)
        except OverBudget:
            pass
        if ends and on_way:
            done, (payer, cost) = on_way.popitem()
            made.settle(done, payer, 0.0, Spent(tokens=cost))
            total += cost
    for number, (payer, cost) in on_way.items():
        made.settle(number, payer, 0.0, Spent(tokens=cost))
        total += cost
    assert total < cap + max(1, largest)


@given(st.lists(st.floats(0.1, 9.0), min_size=1, max_size=40), st.floats(1.0, 60.0))
def test_time_is_passed_by_one_answer_and_by_what_takes_longer_than_ever_before(
    lasts: list[float], cap: float
) -> None:
    """Ten agents at once; whoever may go goes, and the one that went first ends first."""
    made = budget(fleet=Caps(seconds=cap))
    on_way: list[tuple[int, float]] = []
    total, longest, surprise = 0.0, 0.0, 0.0
    for number, last_s in enumerate(lasts):
        while len(on_way) >= 10 or not goes(made, number):
            if not on_way:
                break
            done, took_s = on_way.pop(0)
            made.settle(done, Account("agent"), 0.0, Spent(seconds=took_s, turns=1))
            longest = max(longest, took_s)
        else:
            on_way.append((number, last_s))
            surprise += max(0.0, last_s - longest)
            total += last_s
    assert total <= cap + max(lasts) + surprise + 1e-6


def goes(made: Budget, number: int) -> bool:
    """Whether that request may go beside those on their way; then it is one of them."""
    with contextlib.suppress(OverBudget):
        made.check(Account("agent"), 0.0)
        if made.has_room(Account("agent"), Spent()):
            made.reserve(number, Account("agent"), Spent())
            return True
    return False


def test_ten_at_once_pass_a_budget_of_time_by_no_more_than_one_answer() -> None:
    made = budget(fleet=Caps(seconds=30.0))
    assert [goes(made, number) for number in range(10)] == [True] + [False] * 9
    made.settle(0, Account("agent"), 0.0, Spent(seconds=4.0, turns=1))
    # The first one took 4 s: six more of these are certain to fit into the other 26.
    assert [goes(made, number) for number in range(1, 11)] == [True] * 6 + [False] * 4


# -- prices -----------------------------------------------------------------------------------


def test_an_answer_costs_what_each_kind_of_token_costs() -> None:
    usage = Usage(MILLION, MILLION, MILLION, 2 * MILLION, None, MILLION)
    cost = load_prices().cost_usd("claude-sonnet-4-5", usage)
    assert cost == pytest.approx(3 + 15 + 0.3 + 3.75 + 6)


@pytest.mark.parametrize(
    "name", ["claude-sonnet-4-5-20250929", "claude-opus-4-8[1m]", "claude-haiku-4-5-20251001"]
)
def test_a_dated_release_and_a_context_mark_cost_what_the_model_costs(name: str) -> None:
    assert load_prices().knows(name)


def test_an_unknown_model_costs_nobody_knows_what() -> None:
    prices = load_prices()
    assert prices.cost_usd("gpt-4", Usage(1, 1)) is None
    assert prices.cost_usd(None, Usage(1, 1)) is None
    assert prices.most_usd("x", input_tokens=1, output_tokens=1) is None


def test_a_long_prompt_costs_more_where_the_table_says_so() -> None:
    prices = load_prices()
    short = prices.cost_usd("claude-haiku-5-5", Usage(100_000, 0))
    long = prices.cost_usd("claude-haiku-5-5", Usage(100_001, 0))
    assert short == pytest.approx(0.01)
    assert long == pytest.approx(0.0500005)


def test_the_most_a_request_can_cost_is_no_less_than_what_it_costs() -> None:
    prices = load_prices()
    most = prices.most_usd("claude-opus-5", input_tokens=1000, output_tokens=100)
    assert most is not None
    for usage in (Usage(1000, 100), Usage(0, 100, 0, 1000, None, 1000), Usage(0, 100, 1000)):
        assert most >= (prices.cost_usd("claude-opus-5", usage) or 0)


HEAD = (
    "source: x\nas_of: 2026-01-01\n"
    "columns: [input, cache_write_5m, cache_write_1h, cache_read, output]\n"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "models: {a: [1, 2]}",
        "source: x\nas_of: y\ncolumns: [a]\nmodels: {}",
        HEAD + "models: {a: [1, 1, 1, 1, -1]}",
        HEAD + "models: {a: [1, 1, 1, 1]}",
    ],
)
def test_a_price_table_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(InvalidPrices, match=str(file)):
        load_prices(file)


# -- the ledger -------------------------------------------------------------------------------


def test_the_sums_of_the_ledger_are_those_of_its_rows(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    for number, task in enumerate(["t1", "t1", "t2", None]):
        row = ledger.begin(
            "f", f"agent_{number % 2}", task, "m", asked_at=float(number), most=Most()
        )
        ledger.note(
            row,
            Usage(10, 5, 1, 1, "m"),
            status=200,
            seconds=2.0,
            dollars=0.5,
            most=Most(),
            state="done",
        )
    row = ledger.begin("f", "agent_0", "t1", "m", asked_at=9.0, most=Most())
    ledger.note(row, Usage(), status=429, seconds=0.0, dollars=0.0, most=Most(), state="done")
    ledger.begin("other", "agent_0", None, "m", asked_at=0.0, most=Most())
    assert ledger.of_task("t1") == Spent(1.0, 34, 2, 4.0, 0, 3)
    assert ledger.of_fleet("f") == Spent(2.0, 68, 4, 8.0, 0, 5)
    assert ledger.of_agent("f", "agent_0", since=1.0) == Spent(0.5, 17, 1, 2.0, 0, 2)
    assert sum((each for _, _, each in ledger.each("f", 0.0)), Spent()) == ledger.of_fleet("f")
    ledger.close()


def test_an_answer_without_a_price_is_counted_as_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    row = ledger.begin("f", "a", None, "x", asked_at=0.0, most=Most())
    ledger.note(row, Usage(1, 1), status=200, seconds=0.0, dollars=None, most=Most(), state="done")
    assert ledger.of_fleet("f") == Spent(0.0, 2, 1, 0.0, 1, 1)
    ledger.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from understudy.actors.gateway.ledger import Ledger, Most
from understudy.actors.gateway.usage import Usage
ledger = Ledger(Path(sys.argv[1]))
for number in range(5):
    row = ledger.begin("f", "a", "t", "m", float(number), Most(11, 0.3))
    print("begun", flush=True)
    most = Most(11, 0.3)
    ledger.note(row, Usage(7, 3), status=200, seconds=1.0, dollars=0.1, most=most, state="done")
    print("done", flush=True)
row = ledger.begin("f", "a", "t", "m", 9.0, Most(900, 3.0))
ledger.note(row, Usage(100, 1), status=200, seconds=1.0, dollars=0.2, most=Most(500, 0.9))
ledger.begin("f", "a", "t", "m", 10.0, Most(700, 2.0))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_written_is_there_after_a_kill_and_what_was_open_counts_as_its_most(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    ledger = Ledger(path)
    assert ledger.close_open("f", now=1000.0) == 2
    spent = ledger.of_task("t")
    # Five that are known, one that had told its input, one that had told nothing.
    assert (spent.asks, spent.turns, spent.tokens) == (7, 7, 50 + 500 + 700)
    assert spent.dollars == pytest.approx(5 * 0.1 + 0.9 + 2.0)
    assert (spent.cut, spent.seconds) == (2, 5.0 + 2 * 600)
    assert ledger.close_open("f", now=2000.0) == 0
    ledger.close()


def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database, but long enough to be one" * 40)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="ledger"):
        Ledger(path)
    assert path.read_bytes() == before
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE asks (x)")
    db.close()
    with pytest.raises(LedgerError, match="another program's database"):
        Ledger(other)


def test_the_ledger_is_its_owners_alone(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.db").close()
    assert os.stat(tmp_path / "ledger.db").st_mode & 0o777 == 0o600  # noqa: PTH116 - the mode alone


# -- the books --------------------------------------------------------------------------------

MODEL = "claude-sonnet-4-5"  # 3 dollars for a million read, 6 written to the cache, 15 said


@pytest.mark.parametrize(
    ("told", "status", "tokens", "dollars"),
    [
        # Nothing was told: each byte a token, all written to the cache, and all that may be said.
        (Usage(), None, 4000 + 100, (4000 * 6 + 100 * 15) / MILLION),
        # Its input was told: only what it may have said is unknown.
        (Usage(10, 1, 2000, 0, MODEL), 200, 2110, (10 * 3 + 2000 * 0.3 + 100 * 15) / MILLION),
        # More was told than was asked for.
        (Usage(10, 300, 0, 0, MODEL), 200, 310, (10 * 3 + 300 * 15) / MILLION),
    ],
)
def test_an_answer_that_was_cut_counts_as_the_most_that_it_can_have_cost(
    tmp_path: Path, told: Usage, status: int | None, tokens: int, dollars: float
) -> None:
    made = books(tmp_path / "ledger.db", budget())
    wants = Wants(MODEL, max_tokens=100)
    entry = made.begin(made.ask("agent_a", wants, 4000, until=1.0), wants)
    spent = made.note(entry, told, status, "cut")
    made.close()
    ledger = Ledger(tmp_path / "ledger.db")
    assert (spent.tokens, spent.turns, spent.cut) == (tokens, 1, 1)
    assert spent.dollars == pytest.approx(dollars)
    assert ledger.of_fleet("f") == spent
    ledger.close()


def test_a_budget_says_which_of_it_is_not_certain() -> None:
    made = budget(task=Caps(tokens=10))
    made.reserve(1, A, Spent())
    made.settle(1, A, 0.0, Spent(tokens=12, cut=1))
    with pytest.raises(OverBudget, match="; 1 answers that were cut count as the most"):
        made.check(A, 0.0)


def test_a_model_that_answers_under_another_name_costs_what_was_asked_for(tmp_path: Path) -> None:
    made = books(tmp_path / "ledger.db", budget())
    wants = Wants(MODEL, max_tokens=100)
    entry = made.begin(made.ask("agent_a", wants, 4000, until=1.0), wants)
    spent = made.note(entry, Usage(100, 10, model="a-new-name"), 200, "done")
    assert spent.dollars == pytest.approx((100 * 3 + 10 * 15) / MILLION)
    assert spent.unpriced == 0
    made.close()


def test_an_answer_at_another_speed_has_an_unknown_cost(tmp_path: Path) -> None:
    made = books(tmp_path / "ledger.db", budget())
    wants = Wants(MODEL, max_tokens=100, speed="fast")
    entry = made.begin(made.ask("agent_a", wants, 4000, until=1.0), wants)
    assert made.note(entry, Usage(100, 10, model=MODEL), 200, "done").unpriced == 1
    made.close()


def test_nobody_uses_up_a_budget_by_what_the_api_would_refuse() -> None:
    assert Wants.of(b'{"max_tokens": 1000000000000}').max_tokens == 1_000_000
    assert Wants.of(b'{"max_tokens": -5}').max_tokens == 0


def books(path: Path, made: Budget) -> Accounts:
    return Accounts(
        "f", Ledger(path), load_prices(), made,
        clock=lambda: 0.0, wall=lambda: 100.0, window_s=1000.0,
    )  # fmt: skip


def test_the_next_gateway_knows_what_was_spent_and_who_works_on_what(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first = books(path, budget(task=Caps(turns=1)))
    first.assign("agent_a", {"task_id": "t1", "priority": 8})
    ask = first.ask("agent_a", Wants("claude-sonnet-4-5", max_tokens=100), 4000, until=1.0)
    entry = first.begin(ask, Wants("claude-sonnet-4-5", max_tokens=100))
    first.note(entry, Usage(10, 5, model="claude-sonnet-4-5"), 200, "done")
    first.close()

    made = budget(task=Caps(turns=1))
    second = books(path, made)
    ask = second.ask("agent_a", Wants("claude-sonnet-4-5", max_tokens=100), 4000, until=1.0)
    assert (ask.account.task_id, ask.priority) == ("t1", 8)
    with pytest.raises(OverBudget, match="task t1 has used 1 turns"):
        made.check(ask.account, 100.0)
    second.close()


def test_a_budget_in_dollars_refuses_a_model_without_a_price(tmp_path: Path) -> None:
    made = books(tmp_path / "ledger.db", budget(fleet=Caps(dollars=1.0)))
    with pytest.raises(OverBudget, match="the price of 'mystery' is unknown"):
        made.ask("agent_a", Wants("mystery"), 10, until=1.0)
    fast = Wants.of(b'{"model": "claude-opus-5-5", "speed": "fast"}')
    with pytest.raises(OverBudget, match="'claude-opus-5-5', speed 'fast' is unknown"):
        made.ask("agent_a", fast, 10, until=1.0)
    there = Wants.of(b'{"model": "claude-opus-5-5", "inference_geo": "us"}')
    with pytest.raises(OverBudget, match="inference_geo 'us' is unknown"):
        made.ask("agent_a", there, 10, until=1.0)
    made.close()
    free = books(tmp_path / "ledger.db", budget(fleet=Caps(tokens=1)))
    assert free.ask("agent_a", Wants("mystery"), 10, until=1.0).most.dollars == 0
    free.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"model": 3}', b'{"max_tokens": "x"}'])
def test_a_body_that_cannot_be_booked_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidWants):
        Wants.of(body)


# -- what agents give to each other -----------------------------------------------------------


def test_what_is_spent_on_a_given_task_counts_for_those_above_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    made = budget(task=Caps(turns=9))
    first = books(path, made)
    above = [{"task_id": "mid", "budget": None}, {"task_id": "top", "budget": {"turns": 2}}]
    first.assign("agent_t", {"task_id": "top", "budget": {"turns": 2}})
    for number, agent in enumerate(("agent_a", "agent_b")):
        first.assign(agent, {"task_id": f"child{number}", "above": above})
        ask = first.ask(agent, Wants("claude-sonnet-4-5", max_tokens=9), 9, until=1.0)
        made.check(ask.account, 0.0)
        made.reserve(number, ask.account, ask.most)
        entry = first.begin(ask, Wants("claude-sonnet-4-5", max_tokens=100))
        spent = first.note(entry, Usage(1, 1, model="claude-sonnet-4-5"), 200, "done")
        made.settle(number, ask.account, 0.0, spent)
    for agent in ("agent_a", "agent_t"):
        ask = first.ask(agent, Wants("claude-sonnet-4-5"), 9, until=1.0)
        with pytest.raises(OverBudget, match="task top has used 2 turns of 2 turns"):
            made.check(ask.account, 0.0)
    # The next gateway knows it too, when others have worked for that family since.
    first.assign("agent_a", {"task_id": "else"})
    first.close()
    made = budget(task=Caps(turns=9))
    second = books(path, made)
    ask = second.ask("agent_t", Wants("claude-sonnet-4-5"), 9, until=1.0)
    with pytest.raises(OverBudget, match="task top has used 2 turns"):
        made.check(ask.account, 0.0)
    second.close()


def test_a_ledger_of_version_1_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    old = Ledger(path)
    row = old.begin("f", "a", "t", "m", asked_at=0.0, most=Most())
    old.note(row, Usage(1, 1), status=200, seconds=1.0, dollars=0.5, most=Most(), state="done")
    old.close()
    with sqlite3.connect(path) as db:
        db.executescript(
            "DROP VIEW counted; DROP TABLE parents; ALTER TABLE asks DROP COLUMN most_tokens;"
            "ALTER TABLE asks DROP COLUMN most_dollars; PRAGMA user_version = 1"
        )
    db.close()
    new = Ledger(path)
    new.note_family(["child", "t"])
    assert new.of_task("t").dollars == 0.5
    new.close()
