"""Roles: how they are written, who takes which task, and what a role changes about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from understudy.actors.podman import ContainerSpec
from understudy.actors.seat_plan import SeatPlan, container_spec
from understudy.actors.taking_up import Opened
from understudy.actors.tasks.queue import TaskQueue
from understudy.actors.tasks.task import Task
from understudy.actors.tasks.validate import InvalidTask
from understudy.actors.team.roles import Roles
from understudy.actors.workspace import Workspace
from understudy.config import Configuration, ConfigurationError, load

TEXT = """\
orchestrator:
  num_agents: 1
budget:
  task_turns: 7
roles:
  reviewer:
    tasks: [code_review, analysis]
    count: 2
    model: claude-sonnet-4-5
    system_prompt: prove it
    limits: {memory: 512m, cpu: 0.5, max_turns: 4}
    budget: {tokens: 1000}
  builder:
    tasks: [refactor]
    deny: ["Bash(rm *)"]
  reader:
    read_only: true
"""
AGENTS = ("agent_000", "agent_001", "agent_002")


def config(tmp_path: Path, text: str = TEXT) -> Configuration:
    file = tmp_path / "fleet.yaml"
    file.write_text(text)
    return load(file)


@pytest.fixture
def roles(tmp_path: Path) -> Roles:
    made = Roles.of(config(tmp_path).settings)
    # As an agent's process gets them.
    assert Roles.from_wire(made.to_wire()).to_wire() == made.to_wire()
    return made


def test_the_rows_name_each_setting_of_a_role_and_its_line(tmp_path: Path) -> None:
    rows = {row.name: row for row in config(tmp_path).rows()}
    assert rows["roles.reviewer.limits.cpu"].value == "0.5"
    assert rows["roles.reviewer.count"].origin.endswith("fleet.yaml:8")
    assert rows["roles.builder.count"].origin == "default"


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("count: 2", "cuont: 2", 8, "did you mean roles.reviewer.count?"),
        ("memory: 512m", "memroy: 512m", 11, "did you mean roles.reviewer.limits.memory?"),
        ("[refactor]", "[refactr]", 14, "did you mean refactor?"),
        ("[refactor]", "[refactor, analysis]", 14, "done by the role reviewer already"),
        ("count: 2", "count: 0", 8, "1 to 256"),
        ("count: 2", "count: 256", 8, "at most 256"),
        ("read_only: true", "{read_only: true, tools: [Bash]}", 17, "Bash would write"),
        ("  reader:\n    read_only: true", "  reader:", 16, "settings on lines below"),
        ("reader", "Re.ader", 17, "a role's name"),
        ("claude-sonnet-4-5", "no-such\n    budget: {dollars: 1}", 13, "set in line"),
        ("Bash(rm *)", "Bsh(rm *)", 15, "did you mean Bash?"),
        ("Bash(rm *)", 'Read", "bash', 15, "'bash' names no tool that agents have"),
        ("Bash(rm *)", "Bash(rm *", 15, "is not closed"),
    ],
)
def test_a_wrong_role_is_one_error_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    text = TEXT.replace(old, new)
    if new.startswith("{"):
        text = TEXT.replace(f"reader:\n    {old}", f"reader: {new}")
        line -= 1
    with pytest.raises(ConfigurationError) as caught:
        _ = config(tmp_path, text).settings
    assert caught.value.line == line
    assert says in str(caught.value)


def test_a_budget_in_dollars_needs_a_price_for_the_roles_model(tmp_path: Path) -> None:
    text = TEXT.replace("{tokens: 1000}", "{dollars: 1}").replace("claude-sonnet-4-5", "unheard-of")
    with pytest.raises(ConfigurationError, match="'unheard-of' has no price") as caught:
        config(tmp_path, text)
    assert caught.value.line == 12


def test_flags_and_code_set_roles_too() -> None:
    made = load(overrides={"roles.x.tools": "Read, Grep", "roles.x.count": "2"})
    made["roles.x.read_only"] = True
    role = made.settings.roles["x"]
    assert (role.tools, role.count, role.read_only) == (("Read", "Grep"), 2, True)


def test_a_roles_agents_take_its_tasks_alone_and_nobody_else_does(roles: Roles) -> None:
    queue = TaskQueue(clock=lambda: 0.0, roles=roles)
    queue.put(Task("review", "code_review", "x"))
    queue.put(Task("refactor", "refactor", "x"))
    queue.put(Task("pinned", "generic", "x", agent="agent_002"))

    def take(*idle: str) -> tuple[str, str] | None:
        taken = queue.take(dict.fromkeys(idle))
        return (taken[0].task_id, taken[1]) if taken else None

    assert take("agent_000") == ("refactor", "agent_000")
    assert take("agent_000") is None
    assert take("agent_001", "agent_000") == ("review", "agent_001")
    assert take("agent_000", "agent_001") is None
    assert take("agent_002") == ("pinned", "agent_002")
    assert len(queue) == 0


def test_over_all_lanes_the_most_urgent_task_comes_first(roles: Roles) -> None:
    queue = TaskQueue(clock=lambda: 0.0, roles=roles)
    queue.put(Task("low", "generic", "x", priority=1))
    queue.put(Task("high", "code_review", "x", priority=9))
    idle: dict[str, str | None] = dict.fromkeys(AGENTS)
    assert [taken[0].task_id for taken in (queue.take(idle), queue.take(idle)) if taken] == [
        "high", "low",
    ]  # fmt: skip


def test_each_agent_is_warm_for_what_it_takes(roles: Roles) -> None:
    warm = [roles.warm_for(agent, "generic") for agent in AGENTS]
    assert warm == ["generic", "code_review@reviewer", "code_review@reviewer"]
    assert roles.warm_for("agent_000", "refactor") == "refactor@builder"
    assert roles.warm_for("agent_000", "code_review") is None
    assert roles.warm_for("agent_001", None) is None


def test_a_roles_budget_is_completed_by_what_any_task_has(roles: Roles) -> None:
    caps = {"dollars": None, "tokens": 1000, "turns": 7, "seconds": None}
    assert roles.budget_of(Task(task_type="analysis")) == caps
    assert roles.budget_of(Task(task_type="refactor")) is None
    assert roles.budget_of(Task()) is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"role": "reviewr"}, "did you mean 'reviewer'"),
        ({"agent": "agent_009"}, "no agent of that name"),
        ({"role": "reviewer", "agent": "agent_000"}, "agent_000 does not do the role reviewer"),
    ],
)
def test_a_task_for_nobody_is_refused(roles: Roles, fields: dict[str, Any], says: str) -> None:
    task = Task(description="x", **fields)
    with pytest.raises(InvalidTask, match=says):
        roles.check(task, AGENTS)
    assert says in str(roles.why_nobody(task, AGENTS))


def test_a_role_changes_the_container_and_the_command_line(roles: Roles, tmp_path: Path) -> None:
    names = SeatPlan.__dataclass_fields__
    fields: dict[str, Any] = dict.fromkeys(names, 1)
    fields |= {"run_id": "r", "agent_id": "agent_001", "image": "i", "memory": "2g", "cpus": "1"}
    fields |= {"model": None, "cli_env": {}, "podman_env": {}, "roles": roles.to_wire()}
    fields |= {"conversations": tmp_path, "egress": {"": {"folder": "/e", "hosts": ["a.org:443"]}}}
    plan = SeatPlan(**fields)
    opened = Opened(Workspace(tmp_path), "s")

    def spec(key: str) -> ContainerSpec:
        return container_spec(plan, roles.type_by_key(key), "c", opened, lifetime_s=60)

    review, plain = spec("code_review@reviewer"), spec("code_review")
    assert (review.memory, review.cpus) == ("512m", "0.5")
    assert (plain.memory, plain.cpus) == ("2g", "1")
    # A way out is for who runs commands, and for the roles that have one.
    assert (plain.egress_dir, spec("generic").egress_hosts) == (None, ("a.org:443",))
    assert spec("generic@reviewer").egress_dir is None
    assert {"--model=claude-sonnet-4-5", "--append-system-prompt=prove it", "--max-turns=4"} <= set(
        review.command
    )
    assert "--disallowedTools=Bash(rm *)" in spec("refactor@builder").command
    reading = spec("generic@reader")
    assert reading.read_only_work
    assert "--tools=Read,Grep,Glob" in reading.command


TEAM = (
    TEXT
    + """\
  mute:
    team_tools: []
  boss:
    read_only: true
    team_tools: [delegate_task, wait_task]
    delegates: freely
"""
)


def test_a_team_has_all_tools_unless_its_settings_or_a_role_say_less(tmp_path: Path) -> None:
    roles = Roles.of(config(tmp_path, TEAM).settings)
    roles = Roles.from_wire(roles.to_wire())

    def tools(key: str) -> tuple[str, ...]:
        return roles.type_by_key(key).manner.team_tools

    assert len(tools("generic")) == len(tools("code_review@reviewer")) == 7
    assert (tools("generic@mute"), tools("generic@boss")) == ((), ("delegate_task", "wait_task"))
    assert roles.type_by_key("generic@boss").manner.delegates_freely
    some = load(overrides={"team.tools": "list_agents, ask_agent"}).settings
    assert Roles.of(some).type_by_key("generic").manner.team_tools == ("list_agents", "ask_agent")


def test_an_agent_that_is_alone_has_no_team() -> None:
    alone = Roles.of(load(overrides={"orchestrator.num_agents": 1}).settings)
    assert alone.type_by_key("generic").manner.team_tools == ()
    assert Roles.from_wire(alone.to_wire()).type_by_key("generic").manner.team_tools == ()


def test_a_wrong_tool_of_the_team_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean ask_agent"):
        config(tmp_path, TEXT + "team: {tools: [ask_agnet]}\n")


def test_what_is_withheld_makes_another_kind_of_work_only_where_it_takes_something(
    roles: Roles,
) -> None:
    plain = roles.type_of(Task())
    narrow = roles.type_of(Task(withheld=["write", "unasked", "Bash(rm *)"]))
    assert (plain.key, narrow.key) == ("generic", "generic!write!Bash(rm *)")
    assert (narrow.read_only, narrow.manner.asks) == (True, False)
    assert roles.type_of(Task(withheld=["unasked"])).manner.asks
    question = Task(task_type="question", withheld=["write", "unasked"])
    assert roles.type_of(question).key == "question"
