"""What the model answers without a script: a small reviewer that reads, writes and hands in.

It keeps no state: what it has done stands in the conversation, in its own tool calls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from understudy.fakeapi.conversation import Conversation, ToolCall, mapping
from understudy.fakeapi.facts import NOTE, Change, Facts, SourceFile, TestFile
from understudy.fakeapi.fill import fill
from understudy.fakeapi.script import Choice, Step
from understudy.fakeapi.writing import WORKSPACE, plan_edit, plan_tests

HAND_IN = "StructuredOutput"
_MAX_TEXT = 200
_MAX_FILES = 200
_FILES_AT_ONCE = 20
_TRIES = 2
_FILE_LIST = re.compile(r"^Files:[ \t]*\n((?:- .*(?:\n|\Z))+)", re.MULTILINE)
# The tool Read numbers its lines: `1<tab>text` in Claude Code 2.1.197 and 2.1.330, with an arrow in
# older ones. After a final newline comes one more line, a number without text.
_NUMBERED = re.compile(r"^ *(\d+)[→\t](.*)$", re.MULTILINE)


def unscripted_choice(conversation: Conversation) -> Choice:
    """The next step of the reviewer, or an echo when no structured result is asked for."""
    text, index = conversation.newest_task()
    tool = conversation.tools.get(HAND_IN)
    if tool is None:
        return Choice(Step(text=f"ok: {text[:_MAX_TEXT]} (scripted model)"), "default")
    work = _Work(conversation, text, conversation.calls_after(index))
    return work.next_step(mapping(tool.get("input_schema")))


@dataclass(frozen=True)
class _Work:
    """One task, as far as it has come."""

    conversation: Conversation
    prompt: str
    calls: list[ToolCall]

    def next_step(self, schema: dict[str, Any]) -> Choice:
        handed_in = [call for call in self.calls if call.name == HAND_IN]
        if any(not call.is_error for call in handed_in) or len(handed_in) >= _TRIES:
            return Choice(Step(text=f"Done {NOTE}."), "reviewer: done")
        if unread := self._unread():
            return Choice(Step(tools=[_read(path) for path in unread]), "reviewer: read")
        facts = Facts(files=self._files())
        if not self._has_written() and (step := self._writing(facts, schema)):
            return Choice(step, "reviewer: write")
        result = fill(schema, self._outcome(facts, schema))
        return Choice(Step(tool=HAND_IN, input=mapping(result)), "reviewer: hand in")

    def _paths(self) -> list[str]:
        lists: list[str] = _FILE_LIST.findall(self.prompt)
        # The newest list counts: a request may quote one of its own before it.
        lines = lists[-1].splitlines() if lists else []
        return list(dict.fromkeys(line.removeprefix("- ").strip() for line in lines))[:_MAX_FILES]

    def _unread(self) -> list[str]:
        if "Read" not in self.conversation.tools:
            return []
        asked = {str(call.arguments.get("file_path")) for call in self.calls if call.name == "Read"}
        return [path for path in self._paths() if _full(path) not in asked][:_FILES_AT_ONCE]

    def _files(self) -> tuple[SourceFile, ...]:
        texts = {
            str(call.arguments.get("file_path")): None if call.is_error else _plain(call.result)
            for call in self.calls
            if call.name == "Read"
        }
        return tuple(SourceFile(path, texts.get(_full(path))) for path in self._paths())

    def _has_written(self) -> bool:
        return any(call.name in ("Edit", "Write") for call in self.calls)

    def _writing(self, facts: Facts, schema: dict[str, Any]) -> Step | None:
        if _is_about_tests(schema):
            if "Write" not in self.conversation.tools:
                return None
            plans = [plan for file in facts.files if (plan := plan_tests(file)) is not None]
            writes = [
                ("Write", {"file_path": _full(test.test_file), "content": text})
                for test, text in plans[:_FILES_AT_ONCE]
            ]
            return Step(tools=writes) if writes else None
        edit = plan_edit(facts.files) if "Edit" in self.conversation.tools else None
        return Step(tools=[edit.call]) if edit else None

    def _outcome(self, facts: Facts, schema: dict[str, Any]) -> Facts:
        """The facts with what was really written: a call that failed changed nothing."""
        done = {
            str(call.arguments.get("file_path"))
            for call in self.calls
            if call.name in ("Edit", "Write") and not call.is_error
        }
        tests: list[TestFile] = []
        changes: list[Change] = []
        if _is_about_tests(schema):
            plans = [plan_tests(file) for file in facts.files]
            tests = [plan[0] for plan in plans if plan and _full(plan[0].test_file) in done]
        elif (edit := plan_edit(facts.files)) and _full(edit.change.file) in done:
            changes = [edit.change]
        return Facts(facts.files, tuple(changes), tuple(tests))


def _read(path: str) -> tuple[str, dict[str, Any]]:
    return "Read", {"file_path": _full(path)}


def _full(path: str) -> str:
    return str(PurePosixPath(WORKSPACE, path))


def _plain(result: str | None) -> str | None:
    """A file's text from what Read returned; reminders around it are left out."""
    if result is None:
        return None
    return "\n".join(text for _, text in _NUMBERED.findall(result))


def _is_about_tests(schema: dict[str, Any]) -> bool:
    """Whether a property anywhere in the schema speaks of tests."""
    for name, part in mapping(schema.get("properties")).items():
        if name.startswith("test") or "_test" in name or _is_about_tests(mapping(part)):
            return True
    items = schema.get("items")
    return bool(items) and _is_about_tests(mapping(items))
