"""What the model hands in, as JSON schemas for the CLI's StructuredOutput tool."""

from __future__ import annotations

from typing import Any

SEVERITIES = ("low", "medium", "high", "critical")

_TEXT: dict[str, Any] = {"type": "string"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _list_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _path(meaning: str) -> dict[str, Any]:
    return {"type": "string", "description": f"{meaning}, relative to /work"}


_LINE: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "description": "left out when it concerns the whole file",
}
_SEVERITY: dict[str, Any] = {"type": "string", "enum": list(SEVERITIES)}

CODE_REVIEW = _object(
    {
        "files": _list_of(
            _object(
                {
                    "path": _path("the file"),
                    "summary": {"type": "string", "description": "one or two sentences"},
                    "issues": _list_of(
                        _object(
                            {"severity": _SEVERITY, "message": _TEXT},
                            {"line": _LINE, "category": _TEXT, "suggestion": _TEXT},
                        )
                    ),
                }
            )
        )
    }
)

REFACTOR = _object(
    {
        "refactored": {"type": "boolean", "description": "false when nothing was changed"},
        "output": {"type": "string", "description": "what was done and why"},
        "changes": _list_of(_object({"file": _path("the changed file"), "summary": _TEXT})),
    }
)

TEST_GENERATION = _object(
    {
        "files": _list_of(
            _object(
                {
                    "path": _path("the file under test"),
                    "test_file": _path("the file with its tests"),
                    "test_count": {"type": "integer", "minimum": 0},
                    "summary": _TEXT,
                }
            )
        )
    }
)

ANALYSIS = _object(
    {
        "result": {"type": "string", "description": "the answer"},
        "findings": _list_of(
            _object(
                {"message": _TEXT},
                {"file": _path("the file it rests on"), "line": _LINE, "severity": _SEVERITY},
            )
        ),
    }
)
