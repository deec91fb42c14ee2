from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.program import Program

pytestmark = pytest.mark.podman


def test_a_review_finds_what_is_wrong_and_prints_one_json_object(program: Program) -> None:
    done = program.run(
        "run", "Look for bugs", "--type", "code_review", "-f", "shop/cart.py", "--fake", "--json"
    )
    assert done.code == 0, done.err
    (result,) = done.json["results"]
    assert result["status"] == "success"
    assert result["result"]["files_reviewed"] == 1
    issues = result["result"]["details"]["shop/cart.py"]["issues"]
    assert any("run as code" in issue["message"] for issue in issues)
    assert result["usage"]["input_tokens"] > 0


def test_files_are_worked_on_in_parallel_one_task_each(program: Program) -> None:
    script = '@@ [{"delay": 4, "text": "done"}] @@'  # long enough for both agents to be up
    files = ["-f", "shop/cart.py", "-f", "shop/users.py"]
    done = program.run("run", script, "--each", *files, "--fake", "--json")
    assert done.code == 0, done.err
    agents = {result["agent_id"] for result in done.json["results"]}
    assert agents == {"agent_000", "agent_001"}


@pytest.mark.parametrize("task_type", ["refactor", "test_generation"])
def test_a_writing_task_comes_back_as_a_diff_and_the_repository_is_untouched(
    program: Program, repo: Path, task_type: str
) -> None:
    before = {p: p.read_bytes() for p in repo.rglob("*") if p.is_file()}
    done = program.run(
        "run", "Improve it", "--type", task_type, "-f", "shop/payments.py", "--fake", "--json"
    )
    assert done.code == 0, done.err
    result = done.json["results"][0]["result"]
    assert result["files_changed"]
    assert result["diff"].startswith("diff --git")
    assert {p: p.read_bytes() for p in repo.rglob("*") if p.is_file()} == before


def test_an_analysis_gives_text_and_findings(program: Program) -> None:
    done = program.run(
        "run", "What can go wrong?", "--type", "analysis", "-f", "shop", "--fake", "--json"
    )
    assert done.code == 0, done.err
    result = done.json["results"][0]["result"]
    assert result["analysis_type"] == "What can go wrong?"
    assert result["result"]


def test_a_generic_task_gives_its_final_text(program: Program) -> None:
    script = (
        '@@ [{"tool":"Bash","input":{"command":"echo 6 | tee n.txt"}},'
        '{"text":"got {{tool_result}}"}] @@'
    )
    done = program.run("run", script, "--fake", "--json")
    assert done.code == 0, done.err
    result = done.json["results"][0]["result"]
    assert result["output"].startswith("got 6")
    assert result["files_changed"] == ["n.txt"]


def test_people_see_findings_and_a_table(program: Program) -> None:
    done = program.run("run", "--type", "code_review", "-f", "shop/cart.py", "--fake")
    assert done.code == 0, done.err
    assert "run as code" in done.out
    assert "success" in done.out
    assert "agent_000" in done.err


def test_a_missing_file_fails_the_task_by_name(program: Program) -> None:
    done = program.run("run", "--type", "code_review", "-f", "nowhere.py", "--fake", "--json")
    assert done.code == 1
    (result,) = done.json["results"]
    assert result["failure_kind"] == "workspace"
    assert "nowhere.py" in result["error"]


def test_a_file_outside_the_repository_is_refused_by_name(program: Program) -> None:
    done = program.run("run", "--type", "code_review", "-f", "../../etc/passwd", "--fake", "--json")
    assert done.code == 1
    assert "etc/passwd" in done.json["results"][0]["error"]


def test_a_structured_result_that_is_missing_is_a_failure_that_says_so(program: Program) -> None:
    script = '@@ [{"text":"I would rather not"},{"text":"No."}] @@'
    done = program.run(
        "run", script, "--type", "code_review", "-f", "shop/payments.py", "--fake", "--json"
    )
    assert done.code == 1
    (result,) = done.json["results"]
    assert result["failure_kind"] == "schema_missed"
    assert "without the structured result" in result["error"]


def test_a_task_that_takes_too_long_ends_as_timeout(program: Program) -> None:
    script = '@@ [{"delay": 60, "text":"late"}] @@'
    done = program.run("run", script, "--timeout", "3", "--fake", "--json")
    assert done.code == 1
    (result,) = done.json["results"]
    assert result["status"] == "timeout"
    assert result["execution_time"] < 20


def test_the_store_remembers_after_the_fleet_is_gone(program: Program) -> None:
    done = program.run("run", "say hello", "--fake", "--json")
    task_id = done.json["results"][0]["task_id"]
    listed = program.run("tasks", "--json").json["tasks"]
    assert [(task["task_id"], task["state"]) for task in listed] == [(task_id, "completed")]
    shown = program.run("result", task_id[:8], "--json")
    assert shown.code == 0
    assert shown.json["result"] == done.json["results"][0]["result"]
    log = program.run("logs", task_id)
    assert "started" in log.out
    assert "finished" in log.out


def test_the_demo_runs_without_a_key_and_says_so(program: Program) -> None:
    done = program.run("demo", "--json")
    assert done.code == 0, done.err
    assert "scripted model" in done.err
    results = done.json["results"]
    assert len(results) == 6
    assert sum(result["result"]["total_issues"] for result in results) > 5


def test_flags_are_stronger_than_the_environment_and_that_than_the_file(
    program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "understudy.yaml"
    file.write_text("orchestrator:\n  num_agents: 7\n  task_timeout: 11\n  max_workers: 5\n")
    program.env["UNDERSTUDY_ORCHESTRATOR__TASK_TIMEOUT"] = "12"
    program.env["UNDERSTUDY_ORCHESTRATOR__MAX_WORKERS"] = "6"
    done = program.run(
        "config", "show", "--config", str(file), "--set", "orchestrator.max_workers=4", "--json"
    )
    rows = done.json
    assert rows["orchestrator.num_agents"]["value"] == 7
    assert rows["orchestrator.num_agents"]["origin"].endswith("understudy.yaml:2")
    assert rows["orchestrator.task_timeout"]["value"] == 12
    assert "UNDERSTUDY_ORCHESTRATOR__TASK_TIMEOUT" in rows["orchestrator.task_timeout"]["origin"]
    assert rows["orchestrator.max_workers"] == {"value": 4, "origin": "flag"}
    assert rows["agent.container_memory"] == {"value": "2g", "origin": "default"}
    assert json.loads(done.out) == rows


def test_the_work_of_a_task_is_on_a_branch_and_can_be_merged(program: Program, repo: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, cwd=repo, check=True, capture_output=True, text=True)
        return done.stdout

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "start")
    script = '@@ [{"tool":"Bash","input":{"command":"echo 6 > n.txt"}},{"text":"done"}] @@'
    done = program.run("run", script, "--repo", ".", "--fake", "--json")
    assert done.code == 0, done.err
    (result,) = done.json["results"]
    assert result["branch"] == f"understudy/{result['task_id']}", result["result"]
    assert git("show", f"{result['branch']}:n.txt") == "6\n"
    assert program.run("rm", result["task_id"][:8]).code == 1
    assert program.run("merge", result["task_id"][:8]).code == 0
    assert (repo / "n.txt").read_text() == "6\n"
    assert program.run("rm", result["task_id"][:8]).code == 0
