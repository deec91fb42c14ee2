"""What the scripted reviewer looks for: a table of patterns, each with what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_MAX_LINE = 120
_MAX_PER_FILE = 50


@dataclass(frozen=True)
class Finding:
    """One remark about one line."""

    file: str
    line: int
    severity: str
    category: str
    message: str
    suggestion: str


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    severity: str
    category: str
    message: str
    suggestion: str


def _rule(pattern: str, severity: str, category: str, message: str, suggestion: str) -> _Rule:
    return _Rule(re.compile(pattern, re.MULTILINE), severity, category, message, suggestion)


_PYTHON = (
    _rule(r"(?<![\w.])(eval|exec)\s*\(", "critical", "security",
          "Text is run as code: whoever supplies the text controls the program.",
          "Parse the input, or use ast.literal_eval for plain values."),
    _rule(r"\bshell\s*=\s*True|\bos\.(system|popen)\(", "high", "security",
          "The command goes through a shell, which interprets what is joined into it.",
          "Pass the program and its arguments as a list, without a shell."),
    _rule(r"(?i)[\"'](select|insert|update|delete)\b.*[\"']\s*(\+|%|\.format\()"
          r"|(?i:\bf[\"'](select|insert|update|delete)\b.*\{)", "critical", "security",
          "SQL is put together from text: a value can change the statement.",
          "Use parameters (a `?` and a tuple of values)."),
    _rule(r"\b(hashlib\.)?(md5|sha1)\(", "high", "security",
          "MD5 and SHA-1 do not protect passwords or signatures.",
          "Use hashlib.scrypt for passwords, SHA-256 for digests."),
    _rule(r"\brandom\.(choice|choices|randint|random|randrange)\(", "medium", "security",
          "The random module is predictable; it must not make tokens or keys.",
          "Use the secrets module where the value must not be guessed."),
    _rule(r"\bpickle\.loads?\(|\byaml\.load\((?!.*SafeLoader)", "high", "security",
          "Loading this data can run code that it carries.",
          "Use a format of plain data, or yaml.safe_load."),
    _rule(r"^\s*except\s*:", "high", "error-handling",
          "A bare except also catches KeyboardInterrupt and SystemExit and hides every defect.",
          "Catch the exceptions that are expected here."),
    _rule(r"def \w+\(.*=\s*(\[\]|\{\}|set\(\)|list\(\)|dict\(\))", "high", "bug",
          "A mutable default argument is shared by all calls.",
          "Use None as the default and make a new object inside."),
    _rule(r"[!=]=\s*None\b", "low", "style",
          "None is compared with an operator that a class may redefine.",
          "Use `is None` or `is not None`."),
    _rule(r"^(?!.*\bwith\b)[^#\n]*(?<![\w.])open\(", "medium", "resource",
          "The file is opened without `with`: it stays open when an error comes.",
          "Use `with open(...) as file:`."),
    _rule(r"^class .*:\n(?:(?:    (?!def |async |@|class )\S.*)?\n)*?    \w+ = (\[\]|\{\})$",
          "high", "bug", "A mutable value of a class is shared by all its objects.",
          "Make it in __init__."),
    _rule(r"/ len\(", "medium", "bug",
          "An empty collection makes this a division by zero.",
          "Handle the empty case first."),
    _rule(r"^\s*assert\b", "low", "bug",
          "Assertions are not checked when Python runs with -O.",
          "Raise an exception where the check must hold."),
)  # fmt: skip

_ANY_LANGUAGE = (
    _rule(r"(?i)(password|passwd|secret|api_?key|token)\w*\s*[:=]\s*[\"'][^\"']{4,}[\"']",
          "critical", "security", "A secret stands in the source.",
          "Read it from the environment or a secret store, and replace it: it is known now."),
    _rule(r"\b(TODO|FIXME|XXX)\b", "low", "maintainability", "An unfinished part is left here.",
          "Finish it, or open an issue and refer to it."),
    _rule(rf"^.{{{_MAX_LINE + 1},}}$", "low", "style", f"The line is over {_MAX_LINE} characters.",
          "Break it."),
)  # fmt: skip


def review(path: str, text: str) -> list[Finding]:
    """What the rules find in a file, line by line, at most 50 findings.

    Args:
        path: its name; `.py` brings in the rules for Python.
        text: what is in it.
    """
    is_python = PurePosixPath(path).suffix == ".py"
    rules = (*_PYTHON, *_ANY_LANGUAGE) if is_python else _ANY_LANGUAGE
    lines = text.splitlines()
    found = [
        Finding(path, number, rule.severity, rule.category, rule.message, rule.suggestion)
        for rule in rules
        for match in rule.pattern.finditer(text)
        # A match may begin on lines before the one it is about, never end after it.
        if (number := text.count("\n", 0, match.end()) + 1) <= len(lines)
        and not (rule in _PYTHON and lines[number - 1].lstrip().startswith("#"))
    ]
    return sorted(found, key=lambda finding: finding.line)[:_MAX_PER_FILE]
