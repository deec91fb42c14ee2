"""Settings: their defaults, where they come from, which is stronger, and what is refused how."""

from __future__ import annotations

import os
import pickle
import re
import typing
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.actors.settings import Settings, TaskTypeName
from understudy.actors.tasks.validate import TASK_TYPE_NAMES
from understudy.config import Configuration, ConfigurationError, UnknownSetting, load
from understudy.config_schema import LEAVES, SECTIONS

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"

# The sample file that the project's first users have.
SAMPLE = """
# Orchestrator configuration
orchestrator:
  num_agents: 3
  max_workers: 10
  task_timeout: 300
  log_level: INFO

# Agent configuration
agent:
  container_memory: "2g"
  container_cpu: "1.0"
  health_check_interval: 30
  startup_timeout: 60

# Communication settings
communication:
  socket_path: "/tmp/claude_orchestrator.sock"
  message_timeout: 5.0
  retry_count: 3

# Task queue settings
task_queue:
  max_size: 1000
  priority_levels: 10
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def refusal(file: Path, text: str | bytes) -> ConfigurationError:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert caught.value.source == str(file)
    return caught.value


def test_the_sample_file_says_what_the_defaults_are(file: Path) -> None:
    file.write_text(SAMPLE)
    assert load(file).settings == load().settings == Settings()


def test_every_key_of_every_section_is_effective(file: Path) -> None:
    file.write_text(SAMPLE.replace("3\n", "4\n").replace("10\n", "11\n").replace("2g", "3g"))
    settings = load(file).settings
    assert settings.orchestrator.num_agents == 4
    assert settings.orchestrator.max_workers == 11
    assert settings.agent.container_memory == "3g"
    assert settings.communication.retry_count == 4
    assert settings.task_queue.priority_levels == 11


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults(
    file: Path,
) -> None:
    file.write_text("orchestrator:\n  num_agents: 4\n  max_workers: 5\n  task_timeout: 6\n")
    env = {
        "UNDERSTUDY_ORCHESTRATOR__MAX_WORKERS": "7",
        "UNDERSTUDY_ORCHESTRATOR__TASK_TIMEOUT": "8",
        "UNDERSTUDY_AGENT__MODEL": "",
        "UNDERSTUDY_HOME": "not a setting",
    }
    config = load(file, env, {"orchestrator.task_timeout": 9})
    config["log_level"] = "DEBUG"
    rows = {row.name: (row.value, row.origin) for row in config.rows()}
    assert rows["orchestrator.num_agents"] == (4, f"{file}:2")
    assert rows["orchestrator.max_workers"] == (
        7,
        "environment UNDERSTUDY_ORCHESTRATOR__MAX_WORKERS",
    )
    assert rows["orchestrator.task_timeout"] == (9.0, "flag")
    assert rows["orchestrator.log_level"] == ("DEBUG", "set in code")
    assert rows["agent.model"] == (None, "default")


def test_text_of_the_environment_and_of_flags_means_what_its_setting_wants() -> None:
    env = {
        "UNDERSTUDY_AGENT__CONTAINER_CPU": "2",
        "UNDERSTUDY_AGENT__MODEL": "7",
        "UNDERSTUDY_AGENT__WARM_FOR": "null",
        "UNDERSTUDY_SUPERVISION__PERIOD": "1.5",
        "UNDERSTUDY_GATEWAY__SCRIPTED_MODEL": "true",
    }
    config = load(None, env, {"max_turns": "12"})
    assert config["scripted_model"] is True
    assert [config[k] for k in ("container_cpu", "model", "warm_for", "period", "max_turns")] == [
        "2",
        "7",
        None,
        1.5,
        12,
    ]


def test_a_number_of_processors_may_be_unquoted_and_null_is_null(file: Path) -> None:
    file.write_text("agent:\n  container_cpu: 0.5\n  warm_for: null\nstorage:\n")
    config = load(file)
    assert (config["agent.container_cpu"], config["agent.warm_for"]) == ("0.5", None)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "agent:\n"])
def test_an_empty_file_or_section_changes_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert load(file).settings == Settings()


@pytest.mark.parametrize(
    ("text", "line", "key", "nearest"),
    [
        ("agent:\n  image: x\norchestratr:\n  num_agents: 3\n", 3, "orchestratr", "orchestrator"),
        ("agent:\n  max_turn: 3\n", 2, "agent.max_turn", "agent.max_turns"),
        ("num_agents: 3\n", 1, "num_agents", "orchestrator.num_agents"),
        ("agent:\n  num_agents: 3\n", 2, "agent.num_agents", "orchestrator.num_agents"),
        ("colour:\n  red: 3\n", 1, "colour", None),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_valid_one(
    file: Path, text: str, line: int, key: str, nearest: str | None
) -> None:
    error = refusal(file, text)
    assert isinstance(error, UnknownSetting)
    assert (error.line, error.key, error.nearest) == (line, key, nearest)
    assert str(error).startswith(f"{file}:{line}: {key}: ")


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("agent:\n\n  max_turns: many\n", 3, "agent.max_turns", "from 1 to 1000, not the text"),
        ("agent:\n  max_turns: true\n", 2, "agent.max_turns", "not true"),
        ("gateway:\n  scripted_model: 1\n", 2, "gateway.scripted_model", "true or false, not 1"),
        ("agent:\n  max_turns: 0\n", 2, "agent.max_turns", "not 0"),
        ("agent:\n  max_turns: 1.5\n", 2, "agent.max_turns", "a whole number"),
        ("agent:\n  max_turns:\n", 2, "agent.max_turns", "not null"),
        ("agent:\n  max_turns: [1]\n", 2, "agent.max_turns", "from 1 to 1000, not [1]"),
        ("agent:\n  max_turns: !!int abc\n", 2, "agent.max_turns", "cannot be read"),
        ("agent:\n  stall_timeout: .nan\n", 2, "agent.stall_timeout", "seconds above 0"),
        ("agent:\n  stall_timeout: .inf\n", 2, "agent.stall_timeout", "seconds above 0"),
        ("agent:\n  container_memory: 127m\n", 2, "agent.container_memory", "128m"),
        ("agent:\n  container_cpu: 0\n", 2, "agent.container_cpu", "at least"),
        ("agent:\n  warm_for: refctor\n", 2, "agent.warm_for", "did you mean refactor?"),
        ("orchestrator:\n  log_level: info\n", 2, "orchestrator.log_level", "mean INFO?"),
        ("gateway:\n  upstream: ftp://x\n", 2, "gateway.upstream", "http:// or https://"),
        ("agent: 5\n", 1, "agent", "a section is needed"),
        ("agent: [1]\n", 1, "agent", "must be a mapping"),
        ("agent:\n  image: a\n  image: b\n", 3, "agent.image", "set in line 2 already"),
        ("agent:\n  image: a\nagent:\n", 3, "agent", "set in line 1 already"),
        ("supervision:\n  backoff_min: 31\n", 2, "supervision.backoff_min", "above"),
        ("supervision:\n  backoff_max: 0.1\n", 2, "supervision.backoff_max", "above"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line_and_what_is_needed(
    file: Path, text: str, line: int, key: str, says: str
) -> None:
    error = refusal(file, text)
    assert (error.line, error.key) == (line, key)
    assert says in str(error)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("agent:\n  image: [\n", 3),
        ("\tagent:\n", 1),
        ("a: *nothing\n", 1),
        ("- a\n", 1),
        ("just words\n", 1),
        ("---\nagent:\n---\nagent:\n", 3),
        ("agent:\n  ? [a]\n  : b\n", 2),
        (b"agent:\n  image: \xff\n", 2),
        ("[" * 5000, None),
        (b"#" * 1_000_001, None),
    ],
)
def test_what_is_no_yaml_mapping_is_one_error_with_its_line(
    file: Path, text: str | bytes, line: int | None
) -> None:
    assert refusal(file, text).line == line


def test_no_tag_of_a_file_makes_anything_but_plain_values(file: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    refusal(file, f"agent:\n  image: !!python/object/apply:os.system ['touch {trap}']\n")
    refusal(file, "agent:\n  image: !!python/name:os.system ''\n")
    assert not trap.exists()


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "gone.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError, match=why) as caught:
            load(path)
        assert caught.value.source == str(path)


def test_a_wrong_variable_or_flag_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"variable UNDERSTUDY_AGENT__MAX_TURNS: .*many"):
        load(None, {"UNDERSTUDY_AGENT__MAX_TURNS": "many"})
    with pytest.raises(UnknownSetting, match=r"mean UNDERSTUDY_AGENT__MAX_TURNS\?"):
        load(None, {"UNDERSTUDY_AGENT__MAXTURNS": "3"})
    with pytest.raises(ConfigurationError, match=r"^flag: orchestrator.num_agents: .* not 0"):
        load(None, {}, {"num_agents": 0})
    with pytest.raises(UnknownSetting, match=r"mean orchestrator\.num_agents\?"):
        load(None, {}, {"num_agent": 2})


def test_a_configuration_is_a_mapping_by_full_name_last_name_and_section() -> None:
    config = Configuration()
    config["num_agents"] = 1
    config["agent.max_turns"] = 7
    config["orchestrator"]["max_workers"] = 2
    config["communication"] = {"retry_count": 0, "message_timeout": 1}
    config.update({"pids_limit": 64})
    assert dict(config["orchestrator"]) == {
        "num_agents": 1,
        "max_workers": 2,
        "task_timeout": 300.0,
        "log_level": "INFO",
    }
    assert config.settings.orchestrator.num_agents == config["orchestrator.num_agents"] == 1
    assert config.settings.communication.message_timeout == 1.0
    assert config.settings.agent.pids_limit == 64
    del config["num_agents"]
    assert (config["num_agents"], config.origin("num_agents")) == (3, "default")
    assert len(config) == len(list(config)) == len(LEAVES)
    assert config.get("colour") is None
    assert "num_agents" in config


def test_an_assignment_is_checked_at_once_and_changes_nothing_when_it_is_wrong() -> None:
    config = Configuration()
    for key, value in [("num_agents", "two"), ("num_agnts", 2), ("agent", 3), ("agent", {"x": 1})]:
        with pytest.raises(ConfigurationError):
            config[key] = value
    with pytest.raises(ConfigurationError):
        config["agent"] = {"max_turns": 3, "pids_limit": "many"}
    assert config.settings == Settings()


def test_the_error_crosses_processes() -> None:
    for kind in (ConfigurationError, UnknownSetting):
        error = kind("file", 3, "agent.image", "wrong", "right")
        assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


def test_every_last_name_is_unique_so_that_it_can_stand_alone() -> None:
    assert len({leaf.key for leaf in LEAVES.values()}) == len(LEAVES)
    assert not {leaf.key for leaf in LEAVES.values()} & set(SECTIONS)


def test_every_default_is_within_its_own_limits_and_every_limit_says_what_is_needed() -> None:
    for leaf in LEAVES.values():
        assert leaf.check(leaf.default) == leaf.default
        assert not re.search(r"typing|class|Annotated", leaf.expects), leaf.name


def test_the_task_types_of_settings_and_of_tasks_are_the_same() -> None:
    assert typing.get_args(TaskTypeName) == TASK_TYPE_NAMES


def test_the_page_names_every_setting_with_its_default_and_none_else() -> None:
    documented: dict[str, object] = {}
    section = ""
    for line in DOCS.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif row := re.match(r"\| `(\w+)` \| `([^`]+)` \|", line):
            documented[f"{section}.{row[1]}"] = row[2]
            assert len(line.split("|")) == 7, line
    words: dict[object, str] = {None: "null", False: "false", True: "true", (): "[]"}
    shown = {
        name: words[leaf.default]
        if leaf.type is bool or leaf.default in (None, ())
        else str(leaf.default)
        for name, leaf in LEAVES.items()
    }
    assert documented == shown
    sample = re.search(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert sample
    msgspec.convert(yaml.safe_load(sample[1]), Settings)


def outcome(data: bytes) -> str:
    """What loading a file of those bytes comes to; anything but these two is a fault."""
    descriptor = os.memfd_create("config")
    try:
        os.write(descriptor, data)
        load(f"/proc/self/fd/{descriptor}")
    except ConfigurationError as error:
        return str(error)
    finally:
        os.close(descriptor)
    return "a configuration"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_configuration_or_one_clear_error(data: bytes) -> None:
    assert outcome(data)


names = st.sampled_from([*SECTIONS, *(leaf.key for leaf in LEAVES.values()), "x"])
values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(names)
)


# How long data take to be made says how busy the machine is, and nothing of what is tested.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, st.one_of(values, st.dictionaries(names, values, max_size=3))))
def test_any_yaml_is_a_configuration_or_one_clear_error(data: dict[str, object]) -> None:
    text = yaml.safe_dump(data)  # pyright: ignore[reportUnknownMemberType] - the stubs of 2026-11-22
    assert outcome(text.encode())
