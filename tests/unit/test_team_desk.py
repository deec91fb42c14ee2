"""The root's side of the agents' tools: asks and delegated tasks, who waits for whom, and ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.actors.failure import FailureKind
from understudy.actors.retries import RootLimits
from understudy.actors.root import RootActor
from understudy.actors.roster import Roster
from understudy.actors.settings import RoleSettings, TeamSettings
from understudy.actors.task_book import TaskBook
from understudy.actors.tasks.queue import TaskQueue
from understudy.actors.tasks.store import TaskStore
from understudy.actors.tasks.task import Task, TaskResult, TaskState
from understudy.actors.team.giving import TeamLimits
from understudy.actors.team.roles import Roles
from understudy.supervision import ChildEvent, ExitReason
from understudy.transport import AgentMessage, MessageType

ROLES = {
    "expert": RoleSettings(count=1),
    "reader": RoleSettings(read_only=True),
    "asker": RoleSettings(permission="ask", deny=("Bash(rm *)",)),
    "fetcher": RoleSettings(egress=("example.org",)),
    "boss": RoleSettings(read_only=True, delegates="freely"),
}
LIMITS = TeamLimits(max_depth=2, max_tasks=3, inbox_size=2)


def _ignore(*_told: str) -> None:
    """Nothing of it matters here."""


class Bus:
    """A protocol that keeps what is sent."""

    def __init__(self) -> None:
        self.given: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.orders: list[tuple[str, dict[str, Any]]] = []

    def register_handler(self, kind: MessageType, handler: Callable[[AgentMessage], None]) -> None:
        pass

    def send_task_request(self, receiver_id: str, task: dict[str, Any], *_: Any, **__: Any) -> str:  # noqa: ANN401 - not looked at
        self.given[receiver_id] = task
        return "id"

    def send_task_response(self, request: AgentMessage, result: dict[str, Any]) -> None:
        assert request.message_id not in self.answers, "answered twice"
        self.answers[request.message_id] = result

    def send(self, receiver_id: str, kind: MessageType, payload: dict[str, Any]) -> str:
        del kind
        self.orders.append((receiver_id, payload))
        return "id"


class Team:
    """The root with agents that exist only as the messages of this class."""

    def __init__(
        self,
        path: Path,
        agents: int = 2,
        max_running: int = 10,
        park_after_s: float | None = None,
    ) -> None:
        self.now = 1000.0
        self.bus = Bus()
        self.names = [f"agent_{number:03d}" for number in range(agents)]
        self.roles = Roles(ROLES, {self.names[-1]: "expert"}, team=TeamSettings())
        self.store = TaskStore(path / "tasks.db", wall=lambda: self.now)
        queue = TaskQueue(max_size=100, clock=self.clock, roles=self.roles)
        self.ref = RootActor.start(
            Roster(self.names),
            TaskBook(queue, self.store, "run", clock=self.clock, wall=self.clock),
            self.bus,
            RootLimits(max_running, 3, 1, 8, team=LIMITS, park_after_s=park_after_s),
            kill_agent=_ignore,
            renew_child=_ignore,
            record=_ignore,
            roles=self.roles,
            clock=self.clock,
        )
        self.root: Any = self.ref.proxy()
        self._serial = itertools.count()
        for name in self.names:
            self.ready(name)

    def clock(self) -> float:
        return self.now

    def close(self) -> None:
        self.ref.stop()
        self.store.close()

    def tell(self, message: object) -> None:
        self.ref.ask(message, timeout=5)

    def child(self, agent: str, kind: Any, incarnation: int = 1) -> None:  # noqa: ANN401 - a word
        reason = ExitReason("killed", None, 9, "killed by SIGKILL", None)
        self.tell(ChildEvent(agent, kind, incarnation, reason))

    def ready(self, agent: str, incarnation: int = 1) -> None:
        self.child(agent, "starting", incarnation)
        self.child(agent, "ready", incarnation)
        payload = {"kind": "state", "state": "ready", "warm_for": None}
        self.say(agent, MessageType.STATUS_UPDATE, payload, incarnation)

    def say(
        self, agent: str, kind: MessageType, payload: dict[str, Any], incarnation: int = 1
    ) -> str:
        message = AgentMessage.create(agent, "orchestrator", kind, payload, incarnation=incarnation)
        self.tell(message)
        return message.message_id

    def begin(self, agent: str, **fields: Any) -> str:  # noqa: ANN401 - fields of a task
        """Give the agent a task of a user's; its id."""
        wire: dict[str, Any] = {"description": "x", "agent": agent, "timeout": 100.0, **fields}
        task = Task(**wire)
        self.root.submit([task], []).get()
        assert self.works_on(agent) == task.task_id
        return task.task_id

    def works_on(self, agent: str) -> str | None:
        return self.root.status().get()["agents"][agent]["current_task"]  # type: ignore[no-any-return]

    def call(self, agent: str, tool: str, **arguments: Any) -> str:  # noqa: ANN401 - as the model says
        """The agent calls a tool in its turn; the call's id."""
        order = self.bus.given[agent]
        payload = {"team": tool, "task_id": order["task"]["task_id"], "number": order["number"]}
        return self.say(agent, MessageType.TASK_REQUEST, payload | arguments)

    def ask(self, agent: str, to: str, **more: Any) -> str:  # noqa: ANN401 - likewise
        asked = {"to": to, "question": "why?", "timeout_s": 60, **more}
        return self.call(agent, "ask_agent", **asked)

    def delegate(self, agent: str, to: str | None = None, **more: Any) -> str:  # noqa: ANN401 - likewise
        """The id of the delegated task."""
        asked = {"task_type": "generic", "description": "do", "to": to, **more}
        return str(self.answer(self.call(agent, "delegate_task", **asked))["id"])

    def answer(self, call_id: str) -> dict[str, Any]:
        return self.bus.answers[call_id]

    def refusal(self, call_id: str) -> str:
        return str(self.answer(call_id)["refused"])

    def finish(self, agent: str, text: str = "done", kind: FailureKind | None = None) -> None:
        """The agent's task is over, and it is ready for the next one."""
        task_id = self.works_on(agent)
        assert task_id is not None
        status = "success" if kind is None else "failed"
        result = TaskResult(task_id, agent, status, {"output": text}, failure_kind=kind)
        result.error = None if kind is None else "it went wrong"
        self.say(agent, MessageType.TASK_RESPONSE, result.to_wire())
        payload = {"kind": "state", "state": "ready", "warm_for": None}
        self.say(agent, MessageType.STATUS_UPDATE, payload)

    def state(self, task_id: str) -> TaskState:
        row = self.store.row(task_id)
        assert row is not None
        return row.state

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.tell("tick")


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    made = Team(tmp_path, agents=3)
    yield made
    made.close()


def test_an_ask_is_a_task_of_the_other_agent_and_its_result_the_answer(team: Team) -> None:
    parent = team.begin("agent_000")
    call = team.ask("agent_000", "agent_001")
    asked = team.bus.given["agent_001"]["task"]
    assert (asked["task_type"], asked["description"], asked["is_ask"]) == ("question", "why?", True)
    assert (asked["parent"], asked["given_by"], asked["priority"]) == (parent, "agent_000", 10)
    assert asked["timeout"] == 60
    (wait,) = team.root.status().get()["waits"]
    assert (wait["agent_id"], wait["on"], wait["for_task"]) == (
        "agent_000",
        ["agent_001"],
        asked["task_id"],
    )
    assert call not in team.bus.answers
    team.finish("agent_001", "because")
    assert team.answer(call) == {"answer": "because"}
    assert team.root.status().get()["waits"] == []


def test_the_gateway_is_told_who_pays_for_a_question(team: Team) -> None:
    parent = team.begin("agent_000")
    team.ask("agent_000", "agent_001")
    assigned = [
        p for who, p in team.bus.orders if who == "gateway" and p["agent_id"] == "agent_001"
    ]
    assert assigned[-1]["above"] == [{"task_id": parent, "budget": None}]


def test_an_ask_of_a_busy_agent_waits_in_line_and_ends_with_its_time(team: Team) -> None:
    team.begin("agent_000")
    busy = team.begin("agent_001")
    call = team.ask("agent_000", "agent_001", timeout_s=5)
    assert team.works_on("agent_001") == busy
    (wait,) = team.root.status().get()["waits"]
    team.tick(4.9)
    assert call not in team.bus.answers
    team.tick(0.2)
    assert "no answer within 5 s" in team.refusal(call)
    assert team.state(wait["for_task"]) is TaskState.CANCELED


def test_a_question_may_take_no_longer_than_its_asker_has(team: Team) -> None:
    team.begin("agent_000", timeout=20.0)
    team.now += 5
    team.ask("agent_000", "agent_001")
    assert team.bus.given["agent_001"]["task"]["timeout"] == 15


def test_asks_in_a_ring_are_refused_at_once_with_the_ring(team: Team) -> None:
    team.begin("agent_000")
    team.ask("agent_000", "agent_001")
    team.ask("agent_001", "expert")
    said = team.refusal(team.ask("agent_002", "agent_000"))
    assert "agent_002 waits for agent_000 waits for agent_001 waits for agent_002" in said
    assert "Answer the question you were asked" in said


def test_waiting_for_a_task_closes_a_ring_as_asking_does(team: Team) -> None:
    team.begin("agent_000")
    team.ask("agent_000", "agent_001")
    given = team.delegate("agent_001", "agent_000")
    call = team.call("agent_001", "wait_task", id=given, timeout_s=9)
    assert "agent_001 waits for agent_000 waits for agent_001" in team.refusal(call)
    assert team.state(given) is TaskState.SUBMITTED


def test_an_agent_cannot_wait_for_itself(team: Team) -> None:
    team.begin("agent_000")
    assert "for ever" in team.refusal(team.ask("agent_000", "agent_000"))
    given = team.delegate("agent_000", "agent_000")
    call = team.call("agent_000", "wait_task", id=given, timeout_s=9)
    assert "agent_000 waits for agent_000" in team.refusal(call)
    team.finish("agent_000")
    assert team.works_on("agent_000") == given, "it runs once its giver is done"


def test_when_everybody_waits_for_a_free_agent_the_last_is_told_to_go_on(team: Team) -> None:
    team.begin("agent_000")
    team.begin("agent_001")
    first = team.delegate("agent_000")
    waits = team.call("agent_000", "wait_task", id=first, timeout_s=99)
    second = team.delegate("agent_001")
    said = team.refusal(team.call("agent_001", "wait_task", id=second, timeout_s=99))
    assert "everybody else who could take it waits already (agent_000)" in said
    assert "Do it yourself" in said
    team.finish("agent_001")
    team.finish("agent_001")
    assert team.answer(waits)["result"] == {"output": "done"}


def test_an_agent_that_waits_takes_no_place_among_those_that_work(tmp_path: Path) -> None:
    team = Team(tmp_path, agents=2, max_running=1)
    try:
        team.begin("agent_000")
        call = team.ask("agent_000", "expert")
        team.finish("agent_001", "here")
        assert team.answer(call) == {"answer": "here"}
    finally:
        team.close()


@pytest.mark.parametrize("who", ["gave_up", "suspended"])
def test_an_agent_that_takes_no_work_is_told_at_once_before_and_during_an_ask(
    team: Team, who: str
) -> None:
    team.begin("agent_000")
    team.begin("agent_001")
    call = team.ask("agent_000", "agent_001")
    if who == "gave_up":
        team.child("agent_001", "exited")
        team.child("agent_001", "gave_up")
    else:
        team.root.suspend_agent("agent_001", now=False).get()
    team.tick()
    assert "agent_001 cannot answer" in team.refusal(call)
    assert "agent_001 cannot answer" in team.refusal(team.ask("agent_000", "agent_001"))


def test_after_the_fall_of_the_one_who_was_asked_its_next_life_answers(team: Team) -> None:
    team.begin("agent_000")
    call = team.ask("agent_000", "agent_001")
    team.child("agent_001", "exited")
    assert call not in team.bus.answers
    team.ready("agent_001", 2)
    order = team.bus.given["agent_001"]
    assert (order["attempt"], order["may_have_run"]) == (2, True)
    result = TaskResult(order["task"]["task_id"], "agent_001", "success", {"output": "again"})
    team.say("agent_001", MessageType.TASK_RESPONSE, result.to_wire(), 2)
    assert team.answer(call) == {"answer": "again"}


def test_a_question_that_fails_is_told_with_its_reason(team: Team) -> None:
    team.begin("agent_000")
    call = team.ask("agent_000", "agent_001")
    team.finish("agent_001", kind=FailureKind.MAX_TURNS)
    assert "agent_001 gave no answer: it went wrong" in team.refusal(call)


def test_when_the_asker_falls_its_question_ends_and_what_it_delegated_goes_on(team: Team) -> None:
    parent = team.begin("agent_000")
    call = team.ask("agent_000", "agent_001")
    asked = team.works_on("agent_001")
    given = team.delegate("agent_000", "expert")
    team.child("agent_000", "exited")
    assert ("agent_001", "cancel") in [(who, p.get("command")) for who, p in team.bus.orders]
    team.finish("agent_001", kind=FailureKind.CANCELED)
    assert call not in team.bus.answers
    assert asked is not None
    assert team.state(asked) is TaskState.CANCELED
    assert team.works_on("agent_002") == given
    team.ready("agent_000", 2)
    assert team.works_on("agent_000") == parent
    team.finish("agent_002", "mine")
    order = team.bus.given["agent_000"]
    payload = {"team": "get_task", "task_id": parent, "number": order["number"], "id": given}
    seen = team.say("agent_000", MessageType.TASK_REQUEST, payload, 2)
    assert team.answer(seen)["result"] == {"output": "mine"}


def test_a_withdrawn_ask_ends_the_question(team: Team) -> None:
    team.begin("agent_000")
    call = team.ask("agent_000", "agent_001")
    payload = {"kind": "withdraw", "call_id": call}
    team.say("agent_000", MessageType.STATUS_UPDATE, payload)
    assert team.bus.orders[-1][1]["command"] == "cancel"
    team.finish("agent_001", kind=FailureKind.CANCELED)
    assert call not in team.bus.answers


@pytest.mark.parametrize("kind", [FailureKind.CANCELED, FailureKind.MAX_TURNS])
def test_what_was_given_away_ends_when_its_giver_fails_or_is_canceled(
    team: Team, kind: FailureKind
) -> None:
    team.begin("agent_000")
    running, waiting = team.delegate("agent_000", "agent_001"), team.delegate("agent_000")
    below = team.delegate("agent_001", "agent_000")
    team.finish("agent_000", kind=kind)
    assert team.state(waiting) is TaskState.CANCELED
    assert ("agent_001", running) in [(who, p.get("task_id")) for who, p in team.bus.orders]
    team.finish("agent_001", kind=FailureKind.CANCELED)
    assert ("agent_000", below) in [(who, p.get("task_id")) for who, p in team.bus.orders]


def test_what_was_delegated_goes_on_when_its_giver_is_done(team: Team) -> None:
    team.begin("agent_000")
    given = team.delegate("agent_000", "agent_001")
    team.finish("agent_000")
    assert team.works_on("agent_001") == given
    team.finish("agent_001")
    assert team.state(given) is TaskState.COMPLETED


def test_depth_and_number_of_what_is_given_away_are_limited(team: Team) -> None:
    team.begin("agent_000")
    team.delegate("agent_000", "agent_001")
    team.delegate("agent_001", "expert")
    said = team.refusal(team.ask("agent_002", "agent_001"))
    assert "team.max_depth" in said
    team.delegate("agent_000")
    said = team.refusal(team.ask("agent_001", "agent_002"))
    assert "team.max_tasks" in said


def test_what_was_given_away_before_a_restart_counts_too(tmp_path: Path) -> None:
    before = Team(tmp_path, agents=3)
    head = before.begin("agent_000")
    before.delegate("agent_000", "agent_001")
    before.delegate("agent_001", "expert")
    before.finish("agent_002")
    before.finish("agent_001")
    before.close()

    team = Team(tmp_path, agents=3)
    rows = team.store.recover("run", 3)
    team.root.recover([(row.task, row.attempts) for row in rows], []).get()
    assert team.works_on("agent_000") == head
    # Two of three are given and finished; the third is given now.
    team.delegate("agent_000", "agent_001")
    assert "team.max_tasks" in team.refusal(team.ask("agent_000", "agent_001"))
    team.close()


@pytest.mark.parametrize(
    ("role", "withheld", "tools"),
    [
        ("reader", ["write"], {"Read", "Grep", "Glob"}),
        ("asker", ["unasked", "Bash(rm *)"], {"Bash", "Read", "Edit", "Write", "Grep", "Glob"}),
        ("boss", [], {"Bash", "Read", "Edit", "Write", "Grep", "Glob"}),
    ],
)
def test_what_is_given_away_may_do_no_more_than_its_giver(
    team: Team, role: str, withheld: list[str], tools: set[str]
) -> None:
    team.begin("agent_000", role=role)
    team.delegate("agent_000", "agent_001")
    task = Task.from_wire(team.bus.given["agent_001"]["task"])
    kind = team.roles.type_of(task)
    assert (task.withheld, set(kind.tools)) == (withheld, tools)
    assert kind.manner.asks is (role == "asker")
    assert kind.manner.denied == (("Bash(rm *)",) if role == "asker" else ())


def test_a_reader_cannot_give_away_what_writes(team: Team) -> None:
    team.begin("agent_000", role="reader")
    asked = {"task_type": "refactor", "description": "do", "to": None}
    assert "may only read" in team.refusal(team.call("agent_000", "delegate_task", **asked))


def test_files_are_those_of_the_givers_own_task(team: Team) -> None:
    team.begin("agent_000", repo="/src", files=["lib", "/src/a.py"])
    team.ask("agent_000", "agent_001", files=["/work/lib/x.py", "a.py"])
    task = team.bus.given["agent_001"]["task"]
    assert (task["repo"], task["files"]) == ("/src", ["lib/x.py", "a.py"])
    for outside in ("b.py", "lib/../../etc/passwd", "/etc/passwd", "library/x"):
        call = team.ask("agent_000", "expert", files=[outside])
        assert "not among the files" in team.refusal(call), outside


def test_without_files_the_other_has_an_empty_workspace(team: Team) -> None:
    team.begin("agent_000", repo="/src")
    team.ask("agent_000", "agent_001")
    assert team.bus.given["agent_001"]["task"]["repo"] is None
    team.finish("agent_001")
    team.ask("agent_000", "agent_001", files=["any/file.py"])
    assert team.bus.given["agent_001"]["task"]["files"] == ["any/file.py"]


def test_a_wrong_name_is_told_with_the_nearest_one(team: Team) -> None:
    team.begin("agent_000")
    assert "did you mean 'expert'" in team.refusal(team.ask("agent_000", "exprt"))
    call = team.call("agent_000", "send_message", to="agent_01", text="x")
    assert "did you mean 'agent_001'" in team.refusal(call)


def test_a_task_of_somebody_else_is_not_shown(team: Team) -> None:
    team.begin("agent_000")
    other = team.begin("agent_001")
    for tool in ("get_task", "wait_task"):
        call = team.call("agent_000", tool, id=other, timeout_s=1)
        assert "no task" in team.refusal(call)


def test_a_wait_whose_time_is_up_tells_how_the_task_stands(team: Team) -> None:
    team.begin("agent_000")
    given = team.delegate("agent_000", "agent_001")
    call = team.call("agent_000", "wait_task", id=given, timeout_s=5)
    team.tick(6)
    view = team.answer(call)
    assert (view["state"], view["agent"], view["result"]) == ("working", "agent_001", None)


def test_a_call_of_a_run_that_is_over_is_refused(team: Team) -> None:
    team.begin("agent_000")
    payload = {"team": "list_agents", "task_id": team.works_on("agent_000"), "number": 99}
    call = team.say("agent_000", MessageType.TASK_REQUEST, payload)
    assert "turn is over" in team.refusal(call)


def test_agents_are_listed_with_role_and_state(team: Team) -> None:
    team.begin("agent_000")
    team.ask("agent_000", "agent_001")
    team.root.suspend_agent("agent_002", now=False).get()
    listed = team.answer(team.call("agent_001", "list_agents"))["agents"]
    assert [(a["name"], a["role"], a["state"]) for a in listed] == [
        ("agent_000", "any", "waiting"),
        ("agent_002", "expert", "suspended"),
    ]


def test_an_inbox_is_bounded_in_order_and_read_once(team: Team) -> None:
    team.begin("agent_000")
    team.begin("agent_001")
    for text in ("one", "two"):
        call = team.call("agent_000", "send_message", to="agent_001", text=text)
        assert "sent" in team.answer(call)
    full = team.call("agent_000", "send_message", to="agent_001", text="three")
    assert "too many unread" in team.refusal(full)
    read = team.answer(team.call("agent_001", "read_messages", limit=9, wait_s=0))
    assert [(m["from"], m["text"]) for m in read["messages"]] == [
        ("agent_000", "one"),
        ("agent_000", "two"),
    ]
    assert team.answer(team.call("agent_001", "read_messages", limit=9, wait_s=0)) == {
        "messages": []
    }


def test_who_waits_for_a_message_gets_it_or_nothing_in_time(team: Team) -> None:
    team.begin("agent_000")
    team.begin("agent_001")
    call = team.call("agent_001", "read_messages", limit=9, wait_s=5)
    team.call("agent_000", "send_message", to="agent_001", text="now")
    assert [m["text"] for m in team.answer(call)["messages"]] == ["now"]
    late = team.call("agent_001", "read_messages", limit=9, wait_s=5)
    team.tick(6)
    assert team.answer(late) == {"messages": []}


def test_an_agent_that_is_parked_is_idle_to_others_and_woken_by_a_message(tmp_path: Path) -> None:
    team = Team(tmp_path, park_after_s=60)
    idle = {"kind": "state", "state": "ready", "container": "c"}
    team.say("agent_001", MessageType.STATUS_UPDATE, idle)
    team.begin("agent_000")
    team.tick(60)
    team.say("agent_001", MessageType.STATUS_UPDATE, {"kind": "state", "state": "parked"})
    orders = [("agent_001", {"command": "park"})]
    assert [order for order in team.bus.orders if order[0] == "agent_001"] == orders
    (shown,) = team.answer(team.call("agent_000", "list_agents"))["agents"]
    assert (shown["name"], shown["state"]) == ("agent_001", "idle")
    team.call("agent_000", "send_message", to="agent_001", text="x")
    assert team.bus.orders[-1] == ("agent_001", {"command": "wake"})
    team.close()


def test_who_asks_a_parked_agent_is_answered_by_it(tmp_path: Path) -> None:
    team = Team(tmp_path, park_after_s=60)
    team.begin("agent_000")
    team.say("agent_001", MessageType.STATUS_UPDATE, {"kind": "state", "state": "parked"})
    call = team.ask("agent_000", "agent_001")
    assert team.bus.given["agent_001"]["task"]["is_ask"]
    team.finish("agent_001", "because")
    assert team.answer(call) == {"answer": "because"}
    team.close()


def test_who_asked_whom_is_on_record(team: Team) -> None:
    parent = team.begin("agent_000")
    team.ask("agent_000", "agent_001")
    texts = [event.text for event in team.store.events(task_id=parent)]
    assert any(text.startswith("asks agent_001: why? (") for text in texts)


def test_after_a_death_of_the_service_questions_end_and_delegated_tasks_go_on(
    tmp_path: Path,
) -> None:
    before = Team(tmp_path, agents=3)
    parent = before.begin("agent_000")
    before.ask("agent_000", "agent_001")
    given = before.delegate("agent_000", "expert")
    asked = before.works_on("agent_001")
    before.close()
    after = Team(tmp_path, agents=3)
    try:
        rows = after.store.recover("run", 3)
        tasks = [(row.task, row.attempts) for row in rows]
        after.root.recover(tasks, [], [row.task_id for row in rows]).get()
        assert asked is not None
        assert after.state(asked) is TaskState.CANCELED
        assert (after.works_on("agent_000"), after.works_on("agent_002")) == (parent, given)
        after.finish("agent_000", kind=FailureKind.MAX_TURNS)
        cancels = [p["task_id"] for _, p in after.bus.orders if p.get("command") == "cancel"]
        assert cancels == [given]
    finally:
        after.close()


def test_what_a_stopping_fleet_does_not_take_is_refused(team: Team) -> None:
    team.begin("agent_000")
    team.root.drain("it stops", keep_waiting=True).get()
    assert "it stops" in team.refusal(team.ask("agent_000", "agent_001"))


def test_a_call_that_makes_no_sense_is_refused_and_ends_nothing(team: Team) -> None:
    team.begin("agent_000")
    for arguments in ({}, {"to": "agent_001", "question": 3, "timeout_s": "soon"}):
        call = team.call("agent_000", "ask_agent", **arguments)
        assert "not understood" in team.refusal(call)
    assert "no tool" in team.refusal(team.call("agent_000", "fly"))
    assert "agents" in team.answer(team.call("agent_000", "list_agents"))


def test_what_is_given_away_reaches_no_host_that_its_giver_cannot(team: Team) -> None:
    team.begin("agent_000")
    team.delegate("agent_000", "fetcher")
    task = Task.from_wire(team.bus.given["agent_001"]["task"])
    assert task.withheld == ["egress"]
    assert team.roles.type_of(task).manner.withheld == ("egress",)
    team.finish("agent_000")
    team.begin("agent_000", role="fetcher")
    team.delegate("agent_000", "fetcher")
    team.finish("agent_001")
    assert team.bus.given["agent_001"]["task"]["withheld"] == []
