"""What the scripted model writes when it may: one harmless edit, or a few honest tests."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from understudy.fakeapi.facts import Change, TestFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from understudy.fakeapi.facts import SourceFile

WORKSPACE = "/work"
_COMMENTS = {".py": "#", ".sh": "#", ".rb": "#", ".yaml": "#", ".yml": "#", ".toml": "#"}
_SLASHES = {".js", ".ts", ".jsx", ".tsx", ".c", ".h", ".cpp", ".go", ".rs", ".java", ".swift"}

_TEMPLATE = '''"""Tests by the scripted model: they look at the source, and do not run it."""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / {path!r}


def names():
    tree = ast.parse(SOURCE.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {{node.name for node in tree.body if isinstance(node, kinds)}}


def test_{stem}_is_valid_python():
    ast.parse(SOURCE.read_text())
'''
_ONE_TEST = """

def test_{stem}_has_{name}():
    assert {name!r} in names()
"""


@dataclass(frozen=True)
class Edit:
    """One call of Edit, and what it is for."""

    change: Change
    old: str
    new: str

    @property
    def call(self) -> tuple[str, dict[str, Any]]:
        """The tool call."""
        path = f"{WORKSPACE}/{self.change.file}"
        return "Edit", {"file_path": path, "old_string": self.old, "new_string": self.new}


_MENDS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str], str], ...] = (
    (
        re.compile(r"^.*[!=]= None\b.*$", re.MULTILINE),
        lambda match: match[0].replace("!= None", "is not None").replace("== None", "is None"),
        "compares None by identity",
    ),
    (
        re.compile(r"^[ \t]*except[ \t]*:.*$", re.MULTILINE),
        lambda match: re.sub(r"except[ \t]*:", "except Exception:", match[0], count=1),
        "lets KeyboardInterrupt and SystemExit through",
    ),
)


def plan_edit(files: Sequence[SourceFile]) -> Edit | None:
    """One edit that keeps what the code does: a mended line, else a comment; None without any."""
    for file in files:
        for pattern, mend, summary in _MENDS:
            for match in pattern.finditer(file.text or ""):
                if file.path.endswith(".py") and (file.text or "").count(match[0]) == 1:
                    return Edit(Change(file.path, summary), match[0], mend(match))
    return next((edit for file in files if (edit := _comment(file)) is not None), None)


def _comment(file: SourceFile) -> Edit | None:
    suffix = PurePosixPath(file.path).suffix
    mark = "//" if suffix in _SLASHES else _COMMENTS.get(suffix)
    if not file.text or mark is None:
        return None
    for line in file.text.splitlines():
        is_place = bool(line.strip()) and not line[0].isspace() and not line.startswith("#!")
        # Inside of a long string a comment would be text; after a quote nobody can tell.
        if '"""' in line or "'''" in line or "`" in line:
            return None
        if is_place and file.text.count(line) == 1:
            new = f"{mark} Looked at by the scripted model.\n{line}"
            return Edit(Change(file.path, "adds a comment, changes nothing else"), line, new)
    return None


def plan_tests(file: SourceFile) -> tuple[TestFile, str] | None:
    """A test file for a Python source, and its text; None for what is no Python."""
    if not file.path.endswith(".py") or not file.text:
        return None
    try:
        tree = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = dict.fromkeys(node.name for node in tree.body if isinstance(node, kinds))
    stem = re.sub(r"\W", "_", file.path.removesuffix(".py"))
    text = _TEMPLATE.format(path=file.path, stem=stem)
    text += "".join(_ONE_TEST.format(stem=stem, name=name) for name in names)
    tests = (f"test_{stem}_is_valid_python", *(f"test_{stem}_has_{name}" for name in names))
    return TestFile(file.path, f"tests/test_{stem}.py", len(tests), tests), text
