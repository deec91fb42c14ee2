"""What the scripted reviewer knows at the end of its work: the material for a structured result."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.fakeapi.rules import Finding, review

NOTE = "(scripted model: fixed rules, no judgement)"


@dataclass(frozen=True)
class SourceFile:
    """A file that it was asked to read. `text` is None when the tool could not read it."""

    path: str
    text: str | None

    @property
    def findings(self) -> list[Finding]:
        """What the rules find in it."""
        return review(self.path, self.text) if self.text else []

    @property
    def summary(self) -> str:
        """One sentence about it."""
        if self.text is None:
            return f"{self.path} could not be read {NOTE}"
        lines = _counted(len(self.text.splitlines()), "line")
        return f"{lines} read, {_counted(len(self.findings), 'issue')} found {NOTE}"


@dataclass(frozen=True)
class Change:
    """An edit that it made."""

    file: str
    summary: str


@dataclass(frozen=True)
class TestFile:
    """A test file that it wrote."""

    path: str
    test_file: str
    test_count: int
    names: tuple[str, ...]

    # Not a test itself, whatever pytest thinks of its name.
    __test__ = False

    @property
    def summary(self) -> str:
        """One sentence about it."""
        return f"{_counted(self.test_count, 'test')} written {NOTE}"


@dataclass(frozen=True)
class Facts:
    """All of it."""

    files: tuple[SourceFile, ...] = ()
    changes: tuple[Change, ...] = ()
    tests: tuple[TestFile, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """What was found in all files."""
        return [finding for file in self.files for finding in file.findings]

    @property
    def test_count(self) -> int:
        """How many tests were written."""
        return sum(test.test_count for test in self.tests)

    @property
    def summary(self) -> str:
        """The whole in one sentence."""
        parts = [
            f"{_counted(len(self.files), 'file')} read",
            f"{_counted(len(self.findings), 'issue')} found",
        ]
        if self.changes:
            parts.append(f"{_counted(len(self.changes), 'file')} changed")
        if self.tests:
            parts.append(f"{_counted(self.test_count, 'test')} written")
        return f"{', '.join(parts)} {NOTE}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
