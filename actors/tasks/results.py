"""From what the model handed in to what a task's result promises, and a line about it for people.

The CLI has checked the model's object against the schema; what is read here is read with defaults
all the same, so that one odd item never costs a whole result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .schemas import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .task import Task

_SUMMARY_CHARS = 100


def code_review(structured: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """`files_reviewed`, `total_issues`, and `details` by file."""
    del task
    details: dict[str, dict[str, Any]] = {}
    for file in _items(structured, "files"):
        entry = details.setdefault(_path(file.get("path")), {"issues": [], "summary": ""})
        entry["issues"] += [_issue(issue) for issue in _items(file, "issues")]
        entry["summary"] = entry["summary"] or _text(file.get("summary"))
    return {
        "files_reviewed": len(details),
        "total_issues": sum(len(entry["issues"]) for entry in details.values()),
        "details": {
            path: {"issue_count": len(entry["issues"]), **entry} for path, entry in details.items()
        },
    }


def refactor(structured: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """`refactored`, `files_affected`, `output` and `changes`."""
    del task
    changes = [
        {"file": _path(change.get("file")), "summary": _text(change.get("summary"))}
        for change in _items(structured, "changes")
    ]
    return {
        "refactored": bool(structured.get("refactored")),
        "files_affected": len({change["file"] for change in changes}),
        "output": _text(structured.get("output")),
        "changes": changes,
    }


def test_generation(structured: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """`files_processed`, `total_tests_generated`, and `details` by file under test."""
    del task
    details: dict[str, dict[str, Any]] = {}
    for file in _items(structured, "files"):
        count = file.get("test_count")
        details[_path(file.get("path"))] = {
            "test_count": count if isinstance(count, int) else 0,
            "test_file": _path(file.get("test_file")),
            "summary": _text(file.get("summary")),
        }
    return {
        "files_processed": len(details),
        "total_tests_generated": sum(entry["test_count"] for entry in details.values()),
        "details": details,
    }


def analysis(structured: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """`analysis_type` (the request), `result` and `findings`."""
    return {
        "analysis_type": task.description,
        "result": _text(structured.get("result")),
        "findings": [_finding(finding) for finding in _items(structured, "findings")],
    }


def generic(structured: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """`output`: the agent's last message."""
    del task
    return {"output": _text(structured.get("output", structured.get("result")))}


def summarize_review(result: Mapping[str, Any]) -> str:
    """As "3 issues in 2 files"."""
    issues, files = result.get("total_issues", 0), result.get("files_reviewed", 0)
    return f"{_plural(issues, 'issue')} in {_plural(files, 'file')}"


def summarize_refactor(result: Mapping[str, Any]) -> str:
    """As "2 files changed"."""
    if not result.get("refactored"):
        return "nothing changed"
    return f"{_plural(result.get('files_affected', 0), 'file')} changed"


def summarize_tests(result: Mapping[str, Any]) -> str:
    """As "12 tests for 2 files"."""
    tests, files = result.get("total_tests_generated", 0), result.get("files_processed", 0)
    return f"{_plural(tests, 'test')} for {_plural(files, 'file')}"


def summarize_analysis(result: Mapping[str, Any]) -> str:
    """The answer's first words."""
    return _first_words(_text(result.get("result")))


def summarize_generic(result: Mapping[str, Any]) -> str:
    """The output's first words."""
    return _first_words(_text(result.get("output")))


def _issue(issue: Mapping[str, Any]) -> dict[str, Any]:
    severity = issue.get("severity")
    shaped: dict[str, Any] = {
        "line": issue.get("line") if isinstance(issue.get("line"), int) else None,
        "severity": severity if severity in SEVERITIES else "medium",
        "message": _text(issue.get("message")),
    }
    shaped |= {name: _text(issue[name]) for name in ("category", "suggestion") if issue.get(name)}
    return shaped


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {"message": _text(finding.get("message"))}
    if finding.get("file"):
        shaped["file"] = _path(finding["file"])
    return shaped | {name: finding[name] for name in ("line", "severity") if finding.get(name)}


def _items(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items: Any = holder.get(name)
    if not isinstance(items, list):
        return []
    return [item for item in cast("Iterable[Any]", items) if isinstance(item, dict)]


def _path(value: object) -> str:
    """A path as the task named it: agents often give the absolute one inside their container."""
    return _text(value).removeprefix("/work/").removeprefix("./")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _plural(count: object, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SUMMARY_CHARS else line[: _SUMMARY_CHARS - 1] + "…"
