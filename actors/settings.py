"""Every setting: type, limits, default. What each does stands in docs/configuration.md.

The description of a limit is what an error shows as the thing that is needed.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from .releases import DEFAULT_CLI_VERSION

_DAY_S = 24 * 3600.0

Seconds = Annotated[
    float,
    Meta(gt=0, le=7 * _DAY_S, description="a number of seconds above 0, at most 604800 (7 days)"),
]
Name = Annotated[str, Meta(min_length=1, max_length=4096, description="a text that is not empty")]
PerMinute = Annotated[
    int, Meta(ge=1, le=10**9, description="a whole number a minute from 1 to 1000000000")
]
Count = Annotated[int, Meta(ge=1, le=10**12, description="a whole number from 1 to 10^12")]
Dollars = Annotated[
    float, Meta(gt=0, le=1e6, description="a number of US dollars above 0, at most 1000000")
]
TaskTypeName = Literal[
    "code_review", "refactor", "test_generation", "analysis", "question", "generic"
]
LimitName = Literal["memory", "pids", "cpu"]

Hosts = Annotated[
    tuple[Name, ...], Meta(description='a list of hosts, such as ["example.org", "*.example.com"]')
]
ToolName = Literal["Bash", "Edit", "Glob", "Grep", "NotebookEdit", "Read", "Write"]
TeamToolName = Literal[
    "list_agents", "ask_agent", "send_message", "read_messages",
    "delegate_task", "get_task", "wait_task",
]  # fmt: skip
TEAM_TOOLS: tuple[TeamToolName, ...] = get_args(TeamToolName)
Delegates = Literal["within", "freely"]
# The CLI needs 128 MB for one turn with a command; with 96 MB it is killed.
Memory = Annotated[
    str,
    Meta(
        pattern=r"^((12[89]|1[3-9][0-9]|[2-9][0-9]{2}|[1-9][0-9]{3,6})[mM]|[1-9][0-9]{0,3}[gG])$",
        description='at least "128m": whole megabytes such as "512m" or gigabytes such as "2g"',
    ),
]
Processors = Annotated[
    str,
    Meta(
        pattern=r"^(0*[1-9][0-9]{0,3}(\.[0-9]{1,3})?|0*\.(0[1-9]|[1-9])[0-9]{0,2})$",
        description='a number of processors such as "0.5" or "2", at least "0.01"',
    ),
]
Turns = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]


class OrchestratorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fleet as a whole."""

    num_agents: Annotated[int, Meta(ge=1, le=256, description="a whole number from 1 to 256")] = 3
    max_workers: Annotated[int, Meta(ge=1, le=256, description="a whole number from 1 to 256")] = 10
    task_timeout: Seconds = 300.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"


class AgentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One agent: its container and the CLI in it."""

    container_memory: Memory = "2g"
    container_cpu: Processors = "1.0"
    health_check_interval: Seconds = 30.0
    startup_timeout: Seconds = 60.0
    warm_for: TaskTypeName | None = "generic"
    park_after: Seconds | None = None
    image: Name | None = None
    cli_version: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,6}$",
            description=f'a release of Claude Code such as "{DEFAULT_CLI_VERSION}"',
        ),
    ] = DEFAULT_CLI_VERSION
    model: Name | None = None
    max_turns: Turns = 50
    stall_timeout: Seconds = 300.0
    # The idle CLI holds 7 of them; threads count too.
    pids_limit: Annotated[
        int, Meta(ge=32, le=32768, description="a whole number from 32 to 32768")
    ] = 256
    allow_missing_limits: Annotated[
        tuple[LimitName, ...], Meta(description="a list of limits: memory, pids, cpu")
    ] = ()


class CommunicationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the command line reaches the service, and processes reach each other."""

    # 107 bytes is what the kernel takes for a Unix socket's path.
    socket_path: Annotated[
        str,
        Meta(min_length=1, max_length=107, description="a path of at most 107 bytes"),
    ] = "/tmp/claude_orchestrator.sock"  # noqa: S108 - the brief's default; its owner is checked
    message_timeout: Seconds = 5.0
    retry_count: Annotated[int, Meta(ge=0, le=100, description="a whole number from 0 to 100")] = 3


class TaskQueueSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tasks that wait."""

    max_size: Annotated[
        int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")
    ] = 1000
    # Below 5, a task that names no priority (it has 5) would be refused.
    priority_levels: Annotated[
        int, Meta(ge=5, le=100, description="a whole number from 5 to 100")
    ] = 10
    ageing: Seconds = 60.0


class SupervisionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when an agent falls."""

    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one"
    intensity: Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")] = 3
    period: Seconds = 5.0
    max_attempts: Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")] = 3
    backoff_min: Seconds = 0.2
    backoff_max: Seconds = 30.0
    backoff_factor: Annotated[float, Meta(ge=1, le=100, description="a number from 1 to 100")] = 2.0
    backoff_jitter: Annotated[float, Meta(ge=0, le=1, description="a share from 0 to 1")] = 0.2
    shutdown_timeout: Seconds = 10.0


class GatewaySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agents' way to the Messages API."""

    upstream: (
        Annotated[
            str, Meta(pattern=r"^https?://[^\s/]+", description="an http:// or https:// address")
        ]
        | None
    ) = None
    scripted_model: bool = False
    api_retries: Annotated[int, Meta(ge=0, le=100, description="a whole number from 0 to 100")] = 3
    api_timeout: Seconds = 120.0
    max_wait: Seconds = 600.0
    max_queue: Annotated[
        int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")
    ] = 256
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    credential_file: Name | None = None
    credential_command: Name | None = None


class EgressSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What agents may reach beside the Messages API, by name."""

    allow: Hosts = ()
    allow_addresses: Annotated[
        tuple[Name, ...], Meta(description="a list of addresses, such as [10.0.0.0/8]")
    ] = ()
    max_connections: Annotated[
        int, Meta(ge=1, le=1024, description="a whole number from 1 to 1024")
    ] = 32
    max_bytes: Count = 1_000_000_000
    max_time: Seconds = 600.0


class BudgetSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent at most: null is no limit."""

    task_dollars: Dollars | None = None
    task_tokens: Count | None = None
    task_turns: Count | None = None
    task_seconds: Seconds | None = None
    agent_dollars: Dollars | None = None
    agent_tokens: Count | None = None
    agent_turns: Count | None = None
    agent_seconds: Seconds | None = None
    fleet_dollars: Dollars | None = None
    fleet_tokens: Count | None = None
    fleet_turns: Count | None = None
    fleet_seconds: Seconds | None = None
    budget_window: Seconds = _DAY_S
    prices_file: Name | None = None


class StorageSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept, where, and for how long."""

    state_dir: Name | None = None
    cache_dir: Name | None = None
    run_dir: Name | None = None
    keep_days: Annotated[
        float, Meta(gt=0, le=36500, description="a number of days above 0, at most 36500")
    ] = 30.0
    keep_contexts: Annotated[
        int, Meta(ge=0, le=100_000, description="a whole number from 0 to 100000")
    ] = 20
    save_interval: Annotated[
        float, Meta(ge=0, le=_DAY_S, description="a number of seconds from 0 to 86400")
    ] = 30.0
    max_file_bytes: Annotated[
        int, Meta(ge=1, le=2**40, description="a whole number of bytes from 1 to 1099511627776")
    ] = 10_000_000
    max_workspace_bytes: Annotated[
        int, Meta(ge=1, le=2**40, description="a whole number of bytes from 1 to 1099511627776")
    ] = 200_000_000


_TeamTools = Annotated[
    tuple[TeamToolName, ...],
    Meta(description=f"a list of the team's tools: {', '.join(TEAM_TOOLS)}"),
]


class TeamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What agents may ask of each other."""

    tools: _TeamTools | None = None
    delegates: Delegates = "within"
    max_depth: Annotated[int, Meta(ge=1, le=10, description="a whole number from 1 to 10")] = 3
    max_tasks: Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")] = 20
    inbox_size: Annotated[
        int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")
    ] = 100


class RoleLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one container of a role may have; null is what `agent` says."""

    memory: Memory | None = None
    cpu: Processors | None = None
    max_turns: Turns | None = None


class RoleBudget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one task of a role may spend; null is what `budget` says of a task."""

    dollars: Dollars | None = None
    tokens: Count | None = None
    turns: Count | None = None
    seconds: Seconds | None = None


class RoleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One role: who does which tasks, with what, and what they may do."""

    tasks: Annotated[
        tuple[TaskTypeName, ...], Meta(description="a list of task types, such as [code_review]")
    ] = ()
    model: Name | None = None
    system_prompt: Name | None = None
    tools: (
        Annotated[
            tuple[ToolName, ...],
            Meta(
                description="a list of the CLI's tools: "
                "Bash, Edit, Glob, Grep, NotebookEdit, Read, Write"
            ),
        ]
        | None
    ) = None
    read_only: bool = False
    team_tools: _TeamTools | None = None
    delegates: Delegates | None = None
    permission: Literal["allow", "ask"] = "allow"
    permission_timeout: Seconds = 300.0
    deny: Annotated[
        tuple[Name, ...], Meta(description='a list of the CLI\'s rules, such as ["Bash(rm *)"]')
    ] = ()
    egress: Hosts | None = None
    image: Name | None = None
    count: Annotated[int, Meta(ge=1, le=256, description="a whole number from 1 to 256")] | None = (
        None
    )
    limits: RoleLimits = RoleLimits()
    budget: RoleBudget = RoleBudget()


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings by section; roles by their name."""

    orchestrator: OrchestratorSettings = OrchestratorSettings()
    agent: AgentSettings = AgentSettings()
    communication: CommunicationSettings = CommunicationSettings()
    task_queue: TaskQueueSettings = TaskQueueSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    gateway: GatewaySettings = GatewaySettings()
    egress: EgressSettings = EgressSettings()
    budget: BudgetSettings = BudgetSettings()
    storage: StorageSettings = StorageSettings()
    team: TeamSettings = TeamSettings()
    roles: dict[str, RoleSettings] = {}
