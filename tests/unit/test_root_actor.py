from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from understudy.actors.errors import FleetStopped, UnknownAgent
from understudy.actors.failure import FailureKind
from understudy.actors.handle import TaskHandle
from understudy.actors.retries import RootLimits
from understudy.actors.root import RootActor
from understudy.actors.roster import Roster
from understudy.actors.task_book import TaskBook
from understudy.actors.tasks.queue import TaskQueue
from understudy.actors.tasks.rows import Outcome
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.supervision import ChildEvent, ExitReason
from understudy.transport import AgentMessage, MessageType, PeerUnknown


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bus:
    """A protocol that keeps what is sent, and can lose an agent."""

    def __init__(self) -> None:
        self.given: list[tuple[str, dict[str, Any]]] = []
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.gone: set[str] = set()

    def register_handler(self, kind: MessageType, handler: Callable[[AgentMessage], None]) -> None:
        pass

    def send_task_request(
        self,
        receiver_id: str,
        task: dict[str, Any],
        *,
        timeout_s: float,
    ) -> str:
        del timeout_s
        if receiver_id in self.gone:
            raise PeerUnknown(receiver_id, ())
        self.given.append((receiver_id, task))
        return "id"

    def send(self, receiver_id: str, kind: MessageType, payload: dict[str, Any]) -> str:
        del kind
        self.orders.append((receiver_id, payload))
        return "id"


class Fleet:
    """The root with agents that exist only as the messages of this class."""

    def __init__(
        self,
        path: Path,
        agents: int = 2,
        max_running: int = 10,
        on_hopeless: Callable[[str], None] | None = None,
        park_after_s: float | None = None,
    ) -> None:
        self.clock, self.bus = Clock(), Bus()
        self.store = TaskStore(path / "tasks.db")
        self.ended: list[str] = []
        self.renewed: list[str] = []
        self.recorded: list[tuple[str, str]] = []
        book = TaskBook(
            TaskQueue(max_size=100, clock=self.clock),
            self.store,
            "run",
            clock=self.clock,
            wall=self.clock,
        )
        limits = RootLimits(
            max_running,
            max_attempts=3,
            retry_wait_min_s=1,
            retry_wait_max_s=8,
            park_after_s=park_after_s,
        )
        self.names = [f"agent_{number:03d}" for number in range(agents)]
        self.ref = RootActor.start(
            Roster(self.names),
            book,
            self.bus,
            limits,
            kill_agent=self.ended.append,
            renew_child=self.renewed.append,
            record=self.record,
            on_hopeless=on_hopeless,
            clock=self.clock,
        )
        self.root: Any = self.ref.proxy()
        self.child("gateway", "starting")
        self.child("gateway", "ready")

    def record(self, name: str, kind: str, text: str) -> None:
        assert text
        self.recorded.append((name, kind))

    def close(self) -> None:
        self.ref.stop()
        self.store.close()

    def tell(self, message: object) -> None:
        self.ref.ask(message, timeout=5)

    def child(
        self,
        agent: str,
        kind: Literal["starting", "ready", "exited", "restarting", "gave_up"],
        incarnation: int = 1,
        reason: ExitReason | None = None,
    ) -> None:
        self.tell(ChildEvent(agent, kind, incarnation, reason))

    def ready(self, agent: str, incarnation: int = 1, warm_for: str | None = None) -> None:
        self.child(agent, "starting", incarnation)
        self.child(agent, "ready", incarnation)
        self.state(agent, incarnation, warm_for)

    def state(self, agent: str, incarnation: int = 1, warm_for: str | None = None) -> None:
        payload = {"kind": "state", "state": "ready", "warm_for": warm_for}
        self.tell(self.message(agent, MessageType.STATUS_UPDATE, payload, incarnation))

    def idle(self, agent: str, state: str = "ready", **more: Any) -> None:  # noqa: ANN401 - a state's
        """The agent says that it can take a task: with its container, or parked without."""
        container = f"of-{agent}" if state == "ready" else None
        payload = {"kind": "state", "state": state, "container": container, **more}
        self.tell(self.message(agent, MessageType.STATUS_UPDATE, payload))

    def park(self, agent: str) -> None:
        """It idles for as long as it takes, and parks when it is told."""
        self.after(60)
        assert (agent, {"command": "park"}) in self.bus.orders
        self.idle(agent, "parked")

    def after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.tell("tick")

    def told(self, command: str) -> list[str]:
        return [agent for agent, order in self.bus.orders if order == {"command": command}]

    def state_of(self, agent: str) -> tuple[str, str | None]:
        record = self.root.status().get(timeout=5)["agents"][agent]
        return record["state"], record["container"]

    def message(
        self, agent: str, kind: MessageType, payload: dict[str, Any], incarnation: int = 1
    ) -> AgentMessage:
        return AgentMessage.create(agent, "orchestrator", kind, payload, incarnation=incarnation)

    def answer(
        self, agent: str, task_id: str, incarnation: int = 1, kind: FailureKind | None = None
    ) -> None:
        result = TaskResult(
            task_id, agent, "success" if kind is None else "failed", {}, failure_kind=kind
        )
        wire = result.to_wire()
        self.tell(self.message(agent, MessageType.TASK_RESPONSE, wire, incarnation))

    def hold(self, agent: str, why: str | None = "rate_limit") -> None:
        payload: dict[str, Any] = {"kind": "waiting", "agent_id": agent, "waits_for": why}
        if why is not None:
            payload |= {"waited_s": 0.5, "at_most_s": 600.0}
        self.report(payload)

    def report(self, payload: dict[str, Any], incarnation: int = 1) -> None:
        self.tell(self.message("gateway", MessageType.STATUS_UPDATE, payload, incarnation))

    def fall(self, agent: str, incarnation: int = 1) -> None:
        reason = ExitReason("killed", None, 9, "killed by SIGKILL", None)
        self.child(agent, "exited", incarnation, reason=reason)
        self.child(agent, "restarting", incarnation)
        self.ready(agent, incarnation + 1)

    def submit(
        self,
        *names: str,
        task_type: str = "generic",
        priority: int = 5,
        **fields: Any,  # noqa: ANN401 - those of Task
    ) -> list[TaskHandle]:
        tasks = [
            Task(name, task_type, description=name, priority=priority, **fields) for name in names
        ]
        handles = [TaskHandle(name, lambda _: False) for name in names]
        self.root.submit(tasks, handles).get(timeout=5)
        return handles

    def canceled(self) -> list[tuple[str, str, int]]:
        return [
            (agent, order["task_id"], order["number"])
            for agent, order in self.bus.orders
            if order["command"] == "cancel"
        ]

    def given(self) -> list[tuple[str, str]]:
        return [(agent, order["task"]["task_id"]) for agent, order in self.bus.given]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.close()


def test_a_task_waits_until_an_agent_is_ready(fleet: Fleet) -> None:
    fleet.submit("a")
    assert fleet.given() == []
    fleet.ready("agent_000")
    assert fleet.given() == [("agent_000", "a")]


def test_an_agent_that_can_take_a_task_before_its_process_is_told_ready_gets_one(
    fleet: Fleet,
) -> None:
    fleet.submit("a")
    fleet.child("agent_000", "starting")
    fleet.state("agent_000")
    fleet.child("agent_000", "ready")
    assert fleet.given() == [("agent_000", "a")]
    assert fleet.root.status().get(timeout=5)["agents"]["agent_000"]["state"] == "busy"


def test_tasks_go_to_agents_that_are_idle_and_none_is_dropped(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.ready("agent_001")
    fleet.submit("a", "b", "c")
    assert [task for _, task in fleet.given()] == ["a", "b"]
    fleet.answer("agent_001", "b")
    assert [task for _, task in fleet.given()] == ["a", "b"]
    fleet.state("agent_001")
    assert fleet.given()[-1] == ("agent_001", "c")


def test_a_higher_priority_goes_first(fleet: Fleet) -> None:
    fleet.submit("low", priority=1)
    fleet.submit("high", priority=10)
    fleet.ready("agent_000")
    assert fleet.given() == [("agent_000", "high")]


def test_an_agent_warm_for_the_type_is_preferred(fleet: Fleet) -> None:
    fleet.ready("agent_000", warm_for="generic")
    fleet.ready("agent_001", warm_for="code_review")
    fleet.submit("a", task_type="code_review")
    assert fleet.given() == [("agent_001", "a")]


def test_no_more_run_at_once_than_max_workers_says(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, agents=2, max_running=1)
    fleet.ready("agent_000")
    fleet.ready("agent_001")
    fleet.submit("a", "b")
    assert len(fleet.given()) == 1
    fleet.close()


def test_a_task_runs_again_when_its_agent_falls(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.fall("agent_000")
    assert fleet.given() == [("agent_000", "a"), ("agent_000", "a")]
    fleet.answer("agent_000", "a", incarnation=2)
    assert handle.wait(1).attempts == 2


def test_what_an_older_incarnation_says_is_dropped_and_counted(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.fall("agent_000")
    fleet.answer("agent_000", "a", incarnation=1)
    assert not handle.done()
    status = fleet.root.status().get(timeout=5)
    assert status["stale_messages"] == status["agents"]["agent_000"]["stale_messages"] == 1


def test_an_agent_that_ended_gets_no_task_for_what_it_had_said_at_last(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.child("agent_000", "exited", reason=ExitReason("killed", None, 9, "", None))
    fleet.state("agent_000")
    fleet.submit("a")
    assert fleet.bus.given == []
    fleet.ready("agent_000", 2)
    assert [agent for agent, _ in fleet.bus.given] == ["agent_000"]


def test_an_agent_is_told_that_the_task_may_have_run_before(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    fleet.fall("agent_000")
    assert [order["may_have_run"] for _, order in fleet.bus.given] == [False, True]


def test_after_a_restart_only_what_was_given_to_an_agent_may_have_run(fleet: Fleet) -> None:
    tasks = [Task("ran"), Task("waited")]
    fleet.store.add_many(tasks, "run")
    fleet.root.recover([(tasks[0], 1), (tasks[1], 0)], [], ["ran"]).get(timeout=5)
    fleet.ready("agent_000")
    fleet.ready("agent_001")
    told = [(order["task"]["task_id"], order["may_have_run"]) for _, order in fleet.bus.given]
    assert told == [("ran", True), ("waited", False)]


def test_a_task_is_on_record_with_its_holder_before_the_agent_is_told(fleet: Fleet) -> None:
    held: list[tuple[str, int]] = []

    def look(agent_id: str, task: dict[str, Any], **__: float) -> str:
        lease = fleet.store.attempts(task["task"]["task_id"])[-1]
        held.append((lease.agent_id, lease.incarnation))
        return agent_id

    fleet.bus.send_task_request = look  # type: ignore[method-assign,assignment]  # pyright: ignore[reportAttributeAccessIssue]
    fleet.ready("agent_001", incarnation=7)
    fleet.submit("a")
    assert held == [("agent_001", 7)]


def test_a_result_that_the_store_refuses_is_counted_and_given_to_nobody(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.store.end_attempt("a", Outcome.FELL, 1)
    fleet.answer("agent_000", "a")
    assert not handle.done()
    status = fleet.root.status().get(timeout=5)
    assert status["agents"]["agent_000"]["stale_messages"] == 1
    assert fleet.store.refused("agent_000") == 1


def test_poison_is_put_back_and_runs_again(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    for incarnation in (1, 2, 3):
        fleet.fall("agent_000", incarnation)
    handle = TaskHandle("a", lambda _: False)
    assert fleet.root.replay("a", handle).get(timeout=5)
    assert fleet.bus.given[-1][1]["may_have_run"]
    fleet.answer("agent_000", "a", incarnation=4)
    assert handle.wait(1).status == "success"
    assert not fleet.root.replay("a", handle).get(timeout=5)


def test_a_service_that_stops_keeps_the_task_of_an_agent_that_falls_meanwhile(
    fleet: Fleet,
) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.root.drain("stopping", keep_waiting=True).get(timeout=5)
    fleet.fall("agent_000")
    assert not handle.done()
    assert [row.task_id for row in fleet.store.unfinished("run")] == ["a"]


def test_a_store_that_fails_is_told_to_whoever_waits_and_ends_nothing_silently(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path, agents=1)
    running, waiting = fleet.submit("a", "b")
    fleet.ready("agent_000")
    fleet.store.close()
    fleet.answer("agent_000", "a")
    assert "task store" in (running.wait(1).error or "")
    assert "task store" in (waiting.wait(1).error or "")
    with pytest.raises(FleetStopped, match="task store"):
        fleet.submit("c")
    assert "task store" in fleet.root.status().get(timeout=5)["problem"]
    fleet.close()


def test_a_service_whose_store_fails_ends_with_the_reason_and_keeps_its_tasks(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    fleet = Fleet(tmp_path, agents=1, on_hopeless=told.append)
    (handle,) = fleet.submit("a")
    fleet.store.close()
    fleet.ready("agent_000")
    fleet.tell("tick")
    assert len(told) == 1
    assert "task store" in told[0]
    assert not handle.done()
    fleet.close()


def test_a_task_that_fells_its_agent_three_times_is_poison(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    for incarnation in (1, 2, 3):
        fleet.fall("agent_000", incarnation)
    result = handle.wait(1)
    assert (result.failure_kind, result.attempts) == ("poison", 3)
    assert "killed by SIGKILL" in (result.error or "")


def test_a_task_without_memory_runs_once_more_with_more_of_it_and_then_ends(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    for incarnation in (1, 2):
        crash = {"crash": "oom", "message": "no memory", "task_id": "a"}
        fleet.tell(fleet.message("agent_000", MessageType.ERROR, crash, incarnation))
        fleet.fall("agent_000", incarnation)
    assert [order["more_memory"] for _, order in fleet.bus.given] == [False, True]
    result = handle.wait(1)
    assert (result.failure_kind, result.attempts) == ("oom", 2)
    assert "agent.container_memory" in str(result.error)


def test_a_rate_limit_uses_no_attempt_and_the_task_waits(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    for _ in range(5):
        fleet.answer("agent_000", "a", kind=FailureKind.RATE_LIMITED)
        fleet.state("agent_000")
        assert not handle.done()
        fleet.clock.now += 8
        fleet.tell("tick")
    fleet.answer("agent_000", "a")
    assert handle.wait(1).attempts == 1


def test_for_as_long_as_the_api_asks_to_wait_nothing_is_given_out_and_no_task_ends(
    fleet: Fleet,
) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a", timeout=20.0)
    for _ in range(20):
        fleet.report({"kind": "paused", "for_s": 3600.0, "why": "rate_limit"})
        fleet.report({"kind": "paused", "for_s": 10.0, "why": "overloaded"})
        fleet.answer("agent_000", "a", kind=FailureKind.RATE_LIMITED)
        fleet.state("agent_000")
        given = len(fleet.bus.given)
        fleet.after(3599)
        status = fleet.root.status().get(timeout=5)
        assert (status["blocked_by"], status["paused_s"]) == ("rate_limit", 1.0)
        assert len(fleet.bus.given) == given
        fleet.after(1)
        assert len(fleet.bus.given) == given + 1
    fleet.answer("agent_000", "a")
    assert handle.wait(1).attempts == 1


def test_a_task_that_waits_for_the_api_ends_at_its_deadline(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a", deadline=fleet.clock.now + 100)
    fleet.report({"kind": "paused", "for_s": 3600.0, "why": "rate_limit"})
    fleet.answer("agent_000", "a", kind=FailureKind.RATE_LIMITED)
    fleet.after(101)
    assert handle.wait(1).failure_kind == "timeout"


def test_an_api_that_stays_down_ends_the_task_within_its_time(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a", timeout=20.0)
    for _ in range(5):
        if handle.done():
            break
        fleet.answer("agent_000", "a", kind=FailureKind.API_DOWN)
        fleet.state("agent_000")
        fleet.clock.now += 8
        fleet.tell("tick")
    assert handle.wait(1).failure_kind == "api_down"


def test_a_bad_key_fails_the_task_at_once(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.answer("agent_000", "a", kind=FailureKind.AUTH)
    assert handle.wait(1).failure_kind == "auth"


def test_a_task_that_its_agent_refuses_waits_again_at_no_cost(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    busy = {"kind": "busy", "message": "agent_000 runs another task"}
    fleet.tell(fleet.message("agent_000", MessageType.ERROR, busy))
    fleet.state("agent_000")
    fleet.clock.now += 1
    fleet.tell("tick")
    assert fleet.given() == [("agent_000", "a"), ("agent_000", "a")]
    fleet.answer("agent_000", "a")
    assert handle.wait(1).attempts == 1


def test_a_waiting_task_is_canceled_without_an_agent(fleet: Fleet) -> None:
    (handle,) = fleet.submit("a")
    assert fleet.root.cancel("a").get(timeout=5)
    assert handle.wait(1).failure_kind == "canceled"
    assert handle.state is TaskState.CANCELED


def test_a_running_task_is_canceled_by_its_agent(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    assert fleet.root.cancel("a").get(timeout=5)
    assert fleet.canceled() == [("agent_000", "a", fleet.bus.given[0][1]["number"])]
    assert not handle.done()
    fleet.answer("agent_000", "a", kind=FailureKind.CANCELED)
    assert handle.wait(1).failure_kind == "canceled"


def test_the_gateway_is_told_whose_requests_an_agents_are(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    order = {"command": "assign", "agent_id": "agent_000", "task_id": "a", "priority": 5}
    assert fleet.bus.orders == [("gateway", order)]


def test_an_agent_whose_request_is_held_shows_what_it_waits_for(fleet: Fleet) -> None:
    def shown() -> object:
        return fleet.root.status().get(timeout=5)["agents"]["agent_000"]["waits_for"]

    payload = {"kind": "waiting", "agent_id": "agent_000", "waits_for": "rate_limit"}
    fleet.tell(fleet.message("gateway", MessageType.STATUS_UPDATE, payload))
    assert shown() == "rate_limit"
    payload["waits_for"] = ""
    fleet.tell(fleet.message("gateway", MessageType.STATUS_UPDATE, payload))
    assert not shown()


def test_an_agent_that_ignores_a_cancellation_is_ended(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.root.cancel("a").get(timeout=5)
    fleet.clock.now += 11
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]
    fleet.fall("agent_000")
    assert handle.wait(1).failure_kind == "canceled"


def test_an_agent_that_overruns_its_task_is_ended(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a", timeout=60.0)
    fleet.clock.now += 89
    fleet.tell("tick")
    assert fleet.ended == []
    fleet.clock.now += 2
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]


def test_what_the_gateway_holds_is_none_of_the_tasks_time(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a", timeout=60.0)
    fleet.hold("agent_000")
    fleet.clock.now += 400
    fleet.tell("tick")
    fleet.hold("agent_000", why=None)
    number = fleet.bus.given[0][1]["number"]
    hold = {"command": "hold", "at_most_s": 600.0, "waited_s": 0.5, "number": number}
    assert fleet.bus.orders[1:] == [
        ("agent_000", hold),
        ("agent_000", {"command": "go_on", "number": number}),
    ]
    fleet.clock.now += 89
    fleet.tell("tick")
    assert fleet.ended == []
    fleet.clock.now += 2
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]


def test_a_gateway_that_ended_holds_nothing(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a", timeout=60.0)
    fleet.hold("agent_000")
    fleet.child("gateway", "exited")
    assert fleet.bus.orders[-1][1]["command"] == "go_on"
    fleet.clock.now += 91
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]


def test_nothing_is_given_out_while_no_gateway_serves(fleet: Fleet) -> None:
    fleet.child("gateway", "starting", 2)
    fleet.ready("agent_000")
    fleet.submit("a")
    status = fleet.root.status().get(timeout=5)
    assert (fleet.given(), status["blocked_by"], status["queued"]) == ([], "gateway", 1)
    fleet.child("gateway", "ready", 2)
    assert fleet.given() == [("agent_000", "a")]
    assert fleet.bus.given[0][1]["attempt"] == 1
    assert fleet.root.status().get(timeout=5)["blocked_by"] is None


def test_the_next_gateway_is_told_who_works_on_what(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.ready("agent_001")
    fleet.submit("a", priority=9)
    fleet.child("gateway", "exited", 1)
    fleet.submit("b")
    fleet.bus.orders.clear()
    fleet.child("gateway", "starting", 2)
    fleet.child("gateway", "ready", 2)
    told = [(order["agent_id"], order["task_id"], order["priority"])
            for to, order in fleet.bus.orders if to == "gateway"]  # fmt: skip
    assert told == [("agent_000", "a", 9), ("agent_001", "b", 5)]


def test_the_late_words_of_a_gateway_that_ended_hold_nothing(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a", timeout=60.0)
    fleet.child("gateway", "exited")
    fleet.hold("agent_000")
    fleet.child("gateway", "starting", 2)
    fleet.hold("agent_000")
    fleet.report({"kind": "usage", "agent_id": "agent_000", "requests": 1})
    status = fleet.root.status().get(timeout=5)
    agent = status["agents"]["agent_000"]
    # What it counted is true all the same.
    assert (agent["waits_for"], agent["usage"]["requests"]) == (None, 1)
    assert status["stale_messages"] == 2
    fleet.clock.now += 91
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]


def test_only_the_gateway_says_that_an_agent_waits(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.ready("agent_001")
    fleet.submit("a")
    lie = {"kind": "waiting", "agent_id": "agent_000", "waits_for": "budget", "at_most_s": 1e9}
    fleet.tell(fleet.message("agent_001", MessageType.STATUS_UPDATE, lie))
    assert fleet.root.status().get(timeout=5)["agents"]["agent_000"]["waits_for"] is None


def test_the_time_until_somebody_answers_is_none_of_the_tasks(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a", timeout=60.0)
    asked = {"kind": "permission", "task_id": "a", "request_id": "r", "tool": "Bash", "input": ""}
    payload = {**asked, "timeout_s": 300.0}
    fleet.tell(fleet.message("agent_000", MessageType.STATUS_UPDATE, payload))
    fleet.clock.now += 200
    fleet.tell("tick")
    assert fleet.root.answer("a", allow=True).get(timeout=5)
    fleet.clock.now += 89
    fleet.tell("tick")
    assert fleet.ended == []
    fleet.clock.now += 2
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]


def test_a_task_that_waits_past_its_deadline_ends(fleet: Fleet) -> None:
    (handle,) = fleet.submit("a", deadline=fleet.clock.now + 10)
    fleet.clock.now += 9
    fleet.tell("tick")
    assert not handle.done()
    fleet.clock.now += 2
    fleet.tell("tick")
    result = handle.wait(1)
    assert (result.status, result.failure_kind) == ("timeout", "timeout")
    assert result.error == "its deadline passed before it ran"


def test_a_task_that_runs_past_its_deadline_is_interrupted_even_when_it_is_held(
    fleet: Fleet,
) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a", deadline=fleet.clock.now + 10)
    fleet.hold("agent_000")
    fleet.clock.now += 11
    fleet.tell("tick")
    assert [order[1] for order in fleet.canceled()] == ["a"]
    fleet.answer("agent_000", "a", kind=FailureKind.CANCELED)
    result = handle.wait(1)
    assert (result.status, result.failure_kind) == ("timeout", "timeout")
    assert result.error == "its deadline passed while it ran"


def test_an_agent_that_does_not_end_a_task_past_its_deadline_is_ended(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a", deadline=fleet.clock.now + 10)
    fleet.clock.now += 11
    fleet.tell("tick")
    fleet.hold("agent_000")
    fleet.clock.now += 11
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]
    fleet.fall("agent_000")
    assert handle.wait(1).failure_kind == "timeout"


def test_an_unknown_task_cannot_be_canceled(fleet: Fleet) -> None:
    assert fleet.root.cancel("nobody").get(timeout=5) is False


def test_an_agent_that_cannot_be_reached_does_not_lose_the_task(fleet: Fleet) -> None:
    fleet.bus.gone.add("agent_000")
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    assert not handle.done()
    fleet.ready("agent_001")
    assert fleet.given() == [("agent_001", "a")]


def test_when_no_agent_is_left_everybody_who_waits_is_told(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, agents=1)
    (handle,) = fleet.submit("a")
    reason = ExitReason("permanent", 70, None, "the agent image is gone", "image")
    fleet.child("agent_000", "gave_up", reason=reason)
    result = handle.wait(1)
    assert result.failure_kind == "image"
    assert "the agent image is gone" in (result.error or "")
    with pytest.raises(FleetStopped, match="the agent image is gone"):
        fleet.submit("b")
    fleet.close()


def test_a_service_without_agents_keeps_its_tasks_and_says_why(tmp_path: Path) -> None:
    told: list[str] = []
    fleet = Fleet(tmp_path, agents=1, on_hopeless=told.append)
    (handle,) = fleet.submit("a")
    reason = ExitReason("permanent", 70, None, "the agent image is gone", "image")
    fleet.child("agent_000", "gave_up", reason=reason)
    assert told == ["no agent can work: the agent image is gone"]
    assert not handle.done()
    assert [row.task_id for row in fleet.store.unfinished("run")] == ["a"]
    fleet.close()


def test_when_the_disk_is_full_whoever_waits_is_told(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.store.close()  # every write fails from now on
    result = TaskResult("a", "agent_000", "success", {}).to_wire()
    fleet.ref.tell(fleet.message("agent_000", MessageType.TASK_RESPONSE, result))
    told = handle.wait(5)
    assert told.failure_kind == "internal"
    assert "cannot go on" in (told.error or "")


def test_a_draining_fleet_takes_nothing_and_names_what_runs(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    running, waiting = fleet.submit("a", "b")
    assert fleet.root.drain("stopping", keep_waiting=False).get(timeout=5) == ["a"]
    assert waiting.wait(1).error == "stopping before the task ran"
    assert not running.done()
    with pytest.raises(FleetStopped, match="stopping"):
        fleet.submit("c")
    fleet.root.abandon(keep=False).get(timeout=5)
    assert running.wait(1).failure_kind == "canceled"


def test_a_draining_service_keeps_its_tasks_for_the_next_one(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a", "b")
    fleet.root.drain("stopping", keep_waiting=True).get(timeout=5)
    fleet.root.abandon(keep=True).get(timeout=5)
    rows = fleet.store.unfinished("run")
    assert [(row.task_id, row.state, row.attempts) for row in rows] == [
        ("a", TaskState.SUBMITTED, 1),
        ("b", TaskState.SUBMITTED, 0),
    ]


def test_a_service_keeps_a_task_whose_agent_falls_while_it_drains(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    fleet.root.drain("stopping", keep_waiting=True).get(timeout=5)
    fleet.fall("agent_000")
    fleet.root.abandon(keep=True).get(timeout=5)
    assert [row.task_id for row in fleet.store.unfinished("run")] == ["a"]


def test_a_task_that_waits_again_while_the_fleet_drains_still_ends(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.root.drain("stopping", keep_waiting=False).get(timeout=5)
    busy = {"kind": "busy", "message": "agent_000 runs another task"}
    fleet.tell(fleet.message("agent_000", MessageType.ERROR, busy))
    fleet.root.abandon(keep=False).get(timeout=5)
    assert handle.wait(1).failure_kind == "canceled"


def test_what_failed_for_a_while_is_left_to_the_next_service_or_ends_as_it_failed(
    fleet: Fleet,
) -> None:
    fleet.ready("agent_000")
    fleet.ready("agent_001")
    kept, ended = fleet.submit("kept", "ended")
    fleet.root.drain("stopping", keep_waiting=True).get(timeout=5)
    fleet.answer("agent_000", "kept", kind=FailureKind.RATE_LIMITED)
    fleet.root.drain("stopping", keep_waiting=False).get(timeout=5)
    fleet.answer("agent_001", "ended", kind=FailureKind.RATE_LIMITED)
    assert ended.wait(1).failure_kind == FailureKind.RATE_LIMITED
    assert not kept.done()
    assert [row.task_id for row in fleet.store.unfinished("run")] == ["kept"]


def test_a_cancellation_holds_when_the_agent_refuses_the_task(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    assert fleet.root.cancel("a").get(timeout=5)
    busy = {"kind": "busy", "message": "agent_000 runs another task"}
    fleet.tell(fleet.message("agent_000", MessageType.ERROR, busy))
    assert handle.wait(1).failure_kind == "canceled"


def test_a_gateway_that_ended_for_good_ends_the_hope(fleet: Fleet) -> None:
    (handle,) = fleet.submit("a")
    reason = ExitReason("crash", 1, None, "no route to the API", None)
    fleet.child("gateway", "gave_up", reason=reason)
    assert "gateway ended for good: no route to the API" in (handle.wait(1).error or "")


def test_the_gateways_count_is_shown_with_the_agent(fleet: Fleet) -> None:
    payload = {"kind": "usage", "agent_id": "agent_000", "input_tokens": 7, "output_tokens": 3}
    message = AgentMessage.create("gateway", "orchestrator", MessageType.STATUS_UPDATE, payload)
    fleet.tell(message)
    fleet.tell(message)
    usage = fleet.root.status().get(timeout=5)["agents"]["agent_000"]["usage"]
    assert usage == {"requests": 2, "input_tokens": 14, "output_tokens": 6}


def test_a_restart_by_request_takes_the_task_back_at_no_cost(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    assert fleet.root.restart_agent("agent_000").get(timeout=5)["incarnation"] == 1
    assert fleet.renewed == ["agent_000"]
    assert fleet.recorded == [("agent_000", "restart")]
    fleet.state("agent_000")  # said before it heard of its end
    fleet.child("agent_000", "exited", reason=ExitReason("shutdown", 0))
    fleet.child("agent_000", "restarting")
    fleet.ready("agent_000", 2)
    assert fleet.given() == [("agent_000", "a"), ("agent_000", "a")]
    assert fleet.store.attempts("a")[0].outcome == "recalled"
    fleet.answer("agent_000", "a", incarnation=2)
    assert handle.wait(1).attempts == 1
    agent = fleet.root.status().get(timeout=5)["agents"]["agent_000"]
    assert (agent["restarts"], agent["last_failure"]) == (0, None)


def test_an_agent_that_is_being_restarted_gets_no_task(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.root.restart_agent("agent_000").get(timeout=5)
    fleet.state("agent_000")  # said before it heard of its end
    fleet.submit("a")
    assert fleet.given() == []


def test_a_restart_may_bring_back_an_agent_that_gave_up(fleet: Fleet) -> None:
    fleet.child("agent_000", "gave_up", reason=ExitReason("permanent", 70, None, "bad", "config"))
    fleet.root.restart_agent("agent_000").get(timeout=5)
    fleet.ready("agent_000", 2)
    fleet.submit("a")
    assert fleet.given() == [("agent_000", "a")]


def test_a_suspended_agent_gets_no_task_until_it_is_resumed(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    assert fleet.root.suspend_agent("agent_000", now=False).get(timeout=5)["changed"]
    fleet.submit("a")
    fleet.fall("agent_000")
    assert fleet.given() == []
    assert fleet.root.status().get(timeout=5)["agents"]["agent_000"]["suspended"]
    assert fleet.root.resume_agent("agent_000").get(timeout=5)["changed"]
    assert fleet.given() == [("agent_000", "a")]
    assert not fleet.root.resume_agent("agent_000").get(timeout=5)["changed"]
    assert fleet.recorded == [("agent_000", "suspended"), ("agent_000", "resumed")]


def test_a_suspension_at_once_takes_the_task_back_at_no_cost(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    fleet.root.suspend_agent("agent_000", now=True).get(timeout=5)
    assert fleet.canceled() == [("agent_000", "a", fleet.bus.given[0][1]["number"])]
    fleet.answer("agent_000", "a", kind=FailureKind.CANCELED)
    fleet.state("agent_000")
    fleet.ready("agent_001")
    assert fleet.given() == [("agent_000", "a"), ("agent_001", "a")]
    assert fleet.bus.given[-1][1]["attempt"] == 1


def test_an_agent_that_does_not_end_its_turn_when_suspended_is_ended(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    fleet.root.suspend_agent("agent_000", now=True).get(timeout=5)
    fleet.clock.now += 11
    fleet.tell("tick")
    assert fleet.ended == ["agent_000"]
    fleet.fall("agent_000")
    assert fleet.store.row("a").deaths == 0  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]


def test_a_task_that_is_done_before_it_can_be_taken_back_is_done(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.root.suspend_agent("agent_000", now=True).get(timeout=5)
    fleet.answer("agent_000", "a")
    assert handle.wait(1).status == "success"


def test_a_cancellation_is_stronger_than_a_suspension(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    (handle,) = fleet.submit("a")
    fleet.root.suspend_agent("agent_000", now=True).get(timeout=5)
    fleet.root.cancel("a").get(timeout=5)
    fleet.answer("agent_000", "a", kind=FailureKind.CANCELED)
    assert handle.wait(1).failure_kind == "canceled"


@pytest.mark.parametrize("verb", ["restart_agent", "resume_agent"])
def test_an_unknown_name_is_told_with_the_nearest(fleet: Fleet, verb: str) -> None:
    with pytest.raises(UnknownAgent, match="did you mean agent_00"):
        getattr(fleet.root, verb)("agent_00").get(timeout=5)


def test_a_restart_of_a_service_by_request_is_none_of_its_restarts(fleet: Fleet) -> None:
    fleet.child("gateway", "ready")
    fleet.root.restart_agent("gateway").get(timeout=5)
    assert fleet.renewed == ["gateway"]
    fleet.child("gateway", "exited", reason=ExitReason("shutdown", 0))
    fleet.child("gateway", "restarting")
    fleet.child("gateway", "starting", 2)
    fleet.child("gateway", "ready", 2)
    gateway = fleet.root.status().get(timeout=5)["services"]["gateway"]
    assert (gateway["restarts"], gateway["incarnation"]) == (0, 2)
    fleet.child("gateway", "exited", 2, reason=ExitReason("crash", 1))
    fleet.child("gateway", "restarting", 2)
    assert fleet.root.status().get(timeout=5)["services"]["gateway"]["restarts"] == 1
    with pytest.raises(UnknownAgent, match="agent_000, agent_001"):
        fleet.root.suspend_agent("gateway", now=False).get(timeout=5)


def test_a_fleet_that_stops_restarts_nobody(fleet: Fleet) -> None:
    fleet.root.drain("stopping", keep_waiting=True).get(timeout=5)
    with pytest.raises(FleetStopped):
        fleet.root.restart_agent("agent_000").get(timeout=5)


def test_an_agent_is_told_when_one_more_fall_makes_its_task_poison(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    fleet.fall("agent_000", 1)
    fleet.fall("agent_000", 2)
    assert [order["last_life"] for _, order in fleet.bus.given] == [False, False, True]


def test_a_cancellation_of_one_run_is_none_of_the_next_run_of_the_task(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.submit("a")
    fleet.root.suspend_agent("agent_000", now=True).get(timeout=5)
    fleet.answer("agent_000", "a", kind=FailureKind.CANCELED)
    fleet.root.resume_agent("agent_000").get(timeout=5)
    fleet.state("agent_000")
    numbers = [order["number"] for _, order in fleet.bus.given]
    assert len(set(numbers)) == 2
    assert fleet.canceled() == [("agent_000", "a", numbers[0])]


@pytest.fixture
def sleepy(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet that parks agents after a minute; its one agent is ready, with a container."""
    made = Fleet(tmp_path, agents=1, max_running=1, park_after_s=60)
    made.ready("agent_000")
    made.idle("agent_000")
    yield made
    made.close()


def test_an_agent_that_is_idle_for_long_enough_parks(sleepy: Fleet) -> None:
    sleepy.after(59)
    assert sleepy.told("park") == []
    sleepy.after(1)
    assert sleepy.told("park") == ["agent_000"]
    assert sleepy.state_of("agent_000") == ("parking", "of-agent_000")
    sleepy.idle("agent_000", "parked")
    assert sleepy.state_of("agent_000") == ("parked", None)
    sleepy.after(3600)
    assert sleepy.told("park") == ["agent_000"]
    assert sleepy.recorded == [("agent_000", "parked")]


def test_a_parked_agent_takes_the_next_task_and_is_idle_from_its_end_on(sleepy: Fleet) -> None:
    sleepy.park("agent_000")
    sleepy.submit("a")
    assert sleepy.given() == [("agent_000", "a")]
    sleepy.after(60)
    sleepy.answer("agent_000", "a")
    sleepy.after(60)
    sleepy.idle("agent_000")
    sleepy.after(59)
    assert sleepy.told("park") == ["agent_000"]
    sleepy.after(1)
    assert sleepy.told("park") == ["agent_000", "agent_000"]


def test_a_task_between_the_word_to_park_and_the_answer_is_given_and_stays(sleepy: Fleet) -> None:
    sleepy.after(60)
    sleepy.submit("a")
    assert sleepy.given() == [("agent_000", "a")]
    sleepy.idle("agent_000", "parked")
    assert sleepy.state_of("agent_000") == ("busy", None)
    sleepy.after(60)
    assert sleepy.told("park") == ["agent_000"]
    sleepy.answer("agent_000", "a")
    sleepy.idle("agent_000")
    assert sleepy.state_of("agent_000") == ("ready", "of-agent_000")


def test_an_agent_is_not_told_to_park_with_a_task_that_came_before_the_tick(
    sleepy: Fleet,
) -> None:
    sleepy.clock.now += 60
    sleepy.submit("a")
    sleepy.tell("tick")
    assert sleepy.told("park") == []


def test_no_task_gets_the_conversation_that_ends_with_the_container(sleepy: Fleet) -> None:
    warm = {"warm_for": "generic", "session_id": "s", "place": "p"}
    sleepy.idle("agent_000", **warm)
    sleepy.after(60)
    sleepy.submit("a")
    assert sleepy.bus.given[-1][1]["place"] != "p"


def test_a_warm_agent_is_preferred_to_a_parked_one_also_when_it_is_warm_for_another_type(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path, park_after_s=60)
    for agent in fleet.names:
        fleet.ready(agent)
    fleet.idle("agent_000")
    fleet.park("agent_000")
    fleet.idle("agent_001", warm_for="code_review", session_id="s", place="p")
    fleet.submit("a", "b")
    assert fleet.given() == [("agent_001", "a"), ("agent_000", "b")]
    fleet.close()


def test_an_agent_does_not_park_while_a_task_waits_that_it_may_take(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, max_running=1, park_after_s=60)
    for agent in fleet.names:
        fleet.ready(agent)
        fleet.idle(agent)
    fleet.submit("a", "b")
    fleet.after(60)
    assert fleet.told("park") == []
    fleet.answer("agent_000", "a")
    assert fleet.given()[-1] == ("agent_001", "b")
    fleet.answer("agent_001", "b", kind=FailureKind.API_DOWN)
    fleet.idle("agent_000")
    fleet.clock.now += 60
    # The task waits for its new try: that is due, and goes to the one that was idle.
    fleet.tell("tick")
    assert (fleet.told("park"), fleet.given()[-1]) == ([], ("agent_000", "b"))
    fleet.close()


def test_a_task_that_waits_for_a_new_try_keeps_its_agents_from_parking(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, agents=1, park_after_s=0.5)
    fleet.ready("agent_000")
    fleet.submit("a")
    fleet.answer("agent_000", "a", kind=FailureKind.API_DOWN)
    fleet.idle("agent_000")
    fleet.after(0.9)
    assert fleet.told("park") == []
    fleet.after(0.1)
    assert fleet.given() == [("agent_000", "a")] * 2
    fleet.close()


def test_a_word_to_park_that_was_lost_is_told_again(sleepy: Fleet) -> None:
    sleepy.after(60)
    sleepy.after(59)
    assert sleepy.told("park") == ["agent_000"]
    sleepy.after(1)
    assert sleepy.told("park") == ["agent_000", "agent_000"]
    assert sleepy.recorded == [("agent_000", "parked")]


def test_a_suspended_agent_keeps_its_container(sleepy: Fleet) -> None:
    sleepy.root.suspend_agent("agent_000", now=False).get(timeout=5)
    sleepy.after(3600)
    assert sleepy.told("park") == []


def test_a_resume_wakes_a_parked_agent(sleepy: Fleet) -> None:
    assert not sleepy.root.resume_agent("agent_000").get(timeout=5)["woken"]
    sleepy.park("agent_000")
    assert sleepy.root.resume_agent("agent_000").get(timeout=5)["woken"]
    assert sleepy.told("wake") == ["agent_000"]
    assert sleepy.state_of("agent_000") == ("warming", None)
    sleepy.submit("a")
    assert sleepy.given() == []
    sleepy.idle("agent_000")
    assert sleepy.given() == [("agent_000", "a")]


def test_a_parked_agent_that_falls_comes_back_with_a_container(sleepy: Fleet) -> None:
    sleepy.park("agent_000")
    sleepy.fall("agent_000")
    sleepy.submit("a")
    assert sleepy.given() == [("agent_000", "a")]
    assert sleepy.state_of("agent_000")[0] == "busy"


def test_a_fleet_that_stops_parks_nobody(sleepy: Fleet) -> None:
    sleepy.root.drain("it ends", keep_waiting=False).get(timeout=5)
    sleepy.after(60)
    assert sleepy.told("park") == []


def test_without_the_setting_nobody_parks(fleet: Fleet) -> None:
    fleet.ready("agent_000")
    fleet.idle("agent_000")
    fleet.after(1e6)
    assert fleet.told("park") == []
