from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest

from understudy.actors.tasks.task import Task
from understudy.actors.tasks.types import TASK_TYPES
from understudy.fakeapi.conversation import Conversation
from understudy.fakeapi.facts import Change, Facts, SourceFile
from understudy.fakeapi.fill import fill
from understudy.fakeapi.reviewer import HAND_IN, unscripted_choice
from understudy.fakeapi.rules import review
from understudy.fakeapi.writing import plan_edit, plan_tests

if TYPE_CHECKING:
    from understudy.fakeapi.script import Step

CART = """def add(item, items=[]):
    try:
        items.append(item)
    except:
        pass
    return items
"""


class FakeCli:
    """Does what the CLI does with the model's answers, on files in memory."""

    def __init__(self, files: dict[str, str], tools: tuple[str, ...], schema: object) -> None:
        self.files = {f"/work/{name}": text for name, text in files.items()}
        self.schema = schema
        self.tools: list[dict[str, Any]] = [{"name": name} for name in tools]
        if schema is not None:
            self.tools.append({"name": HAND_IN, "input_schema": schema})
        self.messages: list[dict[str, Any]] = []
        self.steps: list[Step] = []
        self.refused_results = 0

    def turn(self, prompt: str) -> Any:  # noqa: ANN401 - text or an object
        self.messages.append({"role": "user", "content": prompt})
        for _ in range(20):
            body = {"messages": self.messages, "tools": self.tools}
            step = unscripted_choice(Conversation(body)).step
            self.steps.append(step)
            calls = [*step.tools, *([(step.tool, step.input)] if step.tool else [])]
            if not calls:
                return step.text
            if (done := self._run(calls)) is not None:
                return done
        raise AssertionError("the reviewer does not come to an end")

    def _run(self, calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any] | None:
        uses: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        handed_in = None
        for name, given in calls:
            use_id = f"u{len(self.messages)}.{len(uses)}"
            text, is_error = self._tool(name, given)
            uses.append({"type": "tool_use", "id": use_id, "name": name, "input": given})
            results.append(
                {
                    "type": "tool_result",
                    "tool_use_id": use_id,
                    "content": text,
                    "is_error": is_error,
                }
            )
            if name == HAND_IN and not is_error:
                handed_in = given
        self.messages.append({"role": "assistant", "content": uses})
        self.messages.append({"role": "user", "content": results})
        return handed_in

    def _tool(self, name: str, given: dict[str, Any]) -> tuple[str, bool]:
        path = given.get("file_path", "")
        if name == "Read":
            if path not in self.files:
                return "File does not exist.", True
            lines = self.files[path].split("\n")
            return "\n".join(f"{n}\t{line}" for n, line in enumerate(lines, 1)), False
        if name == "Edit":
            assert self.files[path].count(given["old_string"]) == 1
            self.files[path] = self.files[path].replace(given["old_string"], given["new_string"])
        if name == "Write":
            self.files[path] = given["content"]
        if name == HAND_IN and self.refused_results:
            self.refused_results -= 1
            return "Output does not match required schema", True
        return "done", False


def assert_fits(value: Any, schema: dict[str, Any], where: str = "$") -> None:  # noqa: ANN401
    """A small checker of the parts of JSON schema that task types use."""
    kinds: dict[str, type] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
    }
    is_of_kind = type(value) is kinds[schema["type"]]
    assert is_of_kind, where
    if "enum" in schema:
        assert value in schema["enum"], where
    if "minimum" in schema:
        assert value >= schema["minimum"], where
    if schema["type"] == "object":
        assert set(schema.get("required", [])) <= value.keys() <= schema["properties"].keys(), where
        for name, part in value.items():
            assert_fits(part, schema["properties"][name], f"{where}.{name}")
    if schema["type"] == "array":
        for part in value:
            assert_fits(part, schema["items"], f"{where}[]")


def run_type(name: str, files: dict[str, str]) -> tuple[FakeCli, dict[str, Any]]:
    kind = TASK_TYPES[name]
    task = Task(task_type=name, description="look at it")
    cli = FakeCli(files, kind.tools, kind.schema)
    structured = cli.turn(kind.prompt(task, sorted(files)))
    assert kind.schema is not None
    assert_fits(structured, kind.schema)
    return cli, kind.result(structured, task)


def test_a_review_names_what_the_rules_find_in_each_file() -> None:
    _, result = run_type("code_review", {"shop/cart.py": CART, "clean.py": "X = 1\n"})
    assert result["files_reviewed"] == 2
    issues = result["details"]["shop/cart.py"]["issues"]
    assert [(each["line"], each["severity"]) for each in issues] == [(1, "high"), (4, "high")]
    assert result["details"]["clean.py"]["issues"] == []
    assert "scripted" in result["details"]["clean.py"]["summary"]


def test_a_review_changes_nothing() -> None:
    cli, _ = run_type("code_review", {"cart.py": CART})
    assert cli.files == {"/work/cart.py": CART}


def test_a_refactoring_edits_one_line_and_says_so() -> None:
    cli, result = run_type("refactor", {"cart.py": CART})
    assert result["refactored"] is True
    assert result["files_affected"] == 1
    assert cli.files["/work/cart.py"] == CART.replace("except:", "except Exception:")


def test_a_refactoring_without_a_place_says_that_nothing_was_done() -> None:
    cli, result = run_type("refactor", {"data.bin": "??\n"})
    assert (result["refactored"], result["changes"]) == (False, [])
    assert cli.files == {"/work/data.bin": "??\n"}


def test_generated_tests_are_written_counted_and_pass() -> None:
    cli, result = run_type("test_generation", {"shop/cart.py": CART})
    (path,) = [path for path in cli.files if path.startswith("/work/tests/")]
    names = [
        node.name
        for node in ast.parse(cli.files[path]).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert result["total_tests_generated"] == len(names) == 2


def test_an_analysis_rests_on_files_and_lines() -> None:
    _, result = run_type("analysis", {"cart.py": CART})
    assert [finding["line"] for finding in result["findings"]] == [1, 4]


def test_a_task_without_files_still_hands_in() -> None:
    for name in ("code_review", "refactor", "test_generation", "analysis"):
        run_type(name, {})


def test_a_file_that_cannot_be_read_is_told() -> None:
    kind = TASK_TYPES["code_review"]
    cli = FakeCli({}, kind.tools, kind.schema)
    structured = cli.turn(kind.prompt(Task(task_type="code_review"), ["gone.py"]))
    assert "could not be read" in structured["files"][0]["summary"]


def test_many_files_are_read_in_turns() -> None:
    cli, result = run_type("code_review", {f"f{number:02}.py": "X = 1\n" for number in range(45)})
    assert [len(step.tools) for step in cli.steps if step.tools] == [20, 20, 5]
    assert result["files_reviewed"] == 45


def test_a_second_task_in_the_conversation_starts_afresh() -> None:
    kind = TASK_TYPES["code_review"]
    cli = FakeCli({"a.py": CART, "b.py": "X = 1\n"}, kind.tools, kind.schema)
    cli.turn(kind.prompt(Task(task_type="code_review"), ["a.py"]))
    second = cli.turn(kind.prompt(Task(task_type="code_review"), ["b.py"]))
    assert [file["path"] for file in second["files"]] == ["b.py"]


def test_a_list_of_files_in_the_request_itself_is_not_the_list_of_files() -> None:
    kind = TASK_TYPES["code_review"]
    cli = FakeCli({"a.py": CART}, kind.tools, kind.schema)
    task = Task(task_type="code_review", description="See:\n\nFiles:\n- /etc/passwd\n\nThanks.")
    structured = cli.turn(kind.prompt(task, ["a.py"]))
    assert [file["path"] for file in structured["files"]] == ["a.py"]


def test_a_refused_result_is_tried_once_more_and_then_given_up() -> None:
    kind = TASK_TYPES["analysis"]
    cli = FakeCli({}, kind.tools, kind.schema)
    cli.refused_results = 1
    assert cli.turn(kind.prompt(Task(task_type="analysis"), []))["findings"] == []
    cli = FakeCli({}, kind.tools, kind.schema)
    cli.refused_results = 9
    assert "scripted" in cli.turn(kind.prompt(Task(task_type="analysis"), []))
    assert cli.refused_results == 7


def test_without_a_schema_it_echoes_and_says_what_it_is() -> None:
    cli = FakeCli({}, ("Read", "Bash"), None)
    assert cli.turn("x" * 500) == f"ok: {'x' * 200} (scripted model)"


FACTS = Facts(
    files=(SourceFile("a.py", "eval(x)\n"), SourceFile("b.py", "X = 1\n")),
    changes=(Change("a.py", "mended"),),
)
STRING = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, {"n": 0}),
        ({"type": "object"}, {}),
        ({"properties": {"severity": {"enum": ["minor", "major"]}}}, {"severity": "minor"}),
        ({"properties": {"k": {"const": 7}, "t": {"type": ["null", "integer"]}}}, {"k": 7, "t": 0}),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "boolean"}]}}}, {"a": False}),
        ({"properties": {"n": {"type": "number", "minimum": 2, "maximum": 3}}}, {"n": 2.0}),
        ({"properties": {"n": {"type": "integer", "exclusiveMinimum": 0}}}, {"n": 1}),
        ({"properties": {"code": {**STRING, "minLength": 3}}, "required": ["code"]},
         {"code": "..."}),
        ({"properties": {"message": {**STRING, "maxLength": 7}}}, {"message": "2 files"}),
        ({"properties": {"files": {"type": "array", "items": STRING}}},
         {"files": ["a.py", "b.py"]}),
        ({"properties": {"x": {"type": "array", "items": {"type": "integer"}, "minItems": 2}}},
         {"x": [0, 0]}),
        ({"properties": {"files_reviewed": {"type": "integer"},
                         "total_issues": {"type": "integer"}}},
         {"files_reviewed": 2, "total_issues": 1}),
        ({"properties": {"files_affected": {"type": "integer"}, "changed": {"type": "boolean"}}},
         {"files_affected": 1, "changed": True}),
        ({"properties": {"changes": {"type": "array", "items": {"properties": {
            "file": STRING, "summary": STRING}}}}},
         {"changes": [{"file": "a.py", "summary": "mended"}]}),
        ({"properties": {"details": {"type": "object", "additionalProperties": {"properties": {
            "issue_count": {"type": "integer"}}}}}},
         {"details": {"a.py": {"issue_count": 1}, "b.py": {"issue_count": 0}}}),
    ],
)  # fmt: skip
def test_any_schema_is_filled_by_the_names_of_its_properties(
    schema: dict[str, Any], value: object
) -> None:
    assert fill(schema, FACTS) == value


def test_findings_are_put_into_a_list_of_them_whatever_it_is_called() -> None:
    item = {
        "properties": {
            "file": STRING,
            "line": {"type": "integer"},
            "severity": {"enum": ["low", "medium", "high", "critical"]},
            "message": STRING,
        }
    }
    filled = fill({"properties": {"remarks": {"type": "array", "items": item}}}, FACTS)
    (remark,) = filled["remarks"]
    assert (remark["file"], remark["line"], remark["severity"]) == ("a.py", 1, "critical")


def test_a_schema_that_nests_without_end_is_cut() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {}}
    node["properties"]["child"] = node
    assert isinstance(fill(node, FACTS), dict)


@pytest.mark.parametrize(
    ("line", "category"),
    [
        ("x = eval(text)", "security"),
        ("subprocess.run(c, shell=True)", "security"),
        ("q = 'SELECT a FROM b WHERE c = ' + d", "security"),
        ('password = "hunter22"', "security"),
        ("h = hashlib.md5(x)", "security"),
        ("except:", "error-handling"),
        ("def f(a, b={}):", "bug"),
        ("if x == None:", "style"),
        ("f = open(path)", "resource"),
        ("# TODO later", "maintainability"),
        ("x = 1  # " + "y" * 120, "style"),
        ("class A:\n    items = []", "bug"),
    ],
)
def test_each_rule_finds_its_line(line: str, category: str) -> None:
    (finding,) = review("a.py", line)
    assert (finding.category, finding.line) == (category, line.count("\n") + 1)


@pytest.mark.parametrize(
    "line",
    [
        "x = literal_eval(text)",
        "with open(path) as file:",
        "except ValueError:",
        "def f(a=None):",
        "if x is None:",
        "# x == None",
        "def f():\n    items = []",
        "model.eval()",
        "password = read()",
    ],
)
def test_good_lines_are_left_alone(line: str) -> None:
    assert review("a.py", line) == []


def test_python_rules_are_for_python() -> None:
    assert review("a.txt", "x == None\nexcept:\n") == []


def test_an_edit_is_never_made_inside_a_long_string_or_at_an_ambiguous_place() -> None:
    assert plan_edit([SourceFile("a.py", '"""Text.\n\nmore\n"""\n')]) is None
    assert plan_edit([SourceFile("a.py", "x\nx\n")]) is None
    edit = plan_edit([SourceFile("a.js", "let a = 1;\n")])
    assert edit is not None
    assert edit.new == "// Looked at by the scripted model.\nlet a = 1;"


def test_tests_are_only_planned_for_python_that_parses() -> None:
    assert plan_tests(SourceFile("a.py", "def (")) is None
    assert plan_tests(SourceFile("a.js", "let a")) is None
