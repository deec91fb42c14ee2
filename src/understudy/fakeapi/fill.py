"""Filling any JSON schema with what the scripted reviewer knows, by the names of its properties."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from understudy.fakeapi.conversation import mapping, sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from understudy.fakeapi.facts import Change, Facts, SourceFile, TestFile
    from understudy.fakeapi.rules import Finding

    _Maker = Callable[[str, dict[str, Any], "_Scope"], Any]

_PATHS = frozenset({"file", "path", "filename", "file_path", "filepath", "file_name", "location"})
_ISSUES = frozenset({"issues", "findings", "problems", "defects", "bugs", "comments", "violations"})
_ADVICE = frozenset({"suggestion", "fix", "recommendation", "advice", "mend"})
_KINDS = frozenset({"category", "kind", "type", "rule"})
_DEPTH = 20


@dataclass(frozen=True)
class _Scope:
    """What is spoken of at one place in the result, from the whole to one finding."""

    facts: Facts
    file: SourceFile | None = None
    finding: Finding | None = None
    change: Change | None = None
    test: TestFile | None = None
    depth: int = 0

    @property
    def findings(self) -> list[Finding]:
        return self.file.findings if self.file else self.facts.findings

    @property
    def path(self) -> str:
        named = self.finding or self.change
        if named:
            return named.file
        holder = self.test or self.file or next(iter(self.facts.files), None)
        return holder.path if holder else ""

    @property
    def summary(self) -> str:
        if self.finding:
            return self.finding.message
        holder = self.change or self.test or self.file or self.facts
        return holder.summary


def fill(schema: dict[str, Any], facts: Facts) -> Any:  # noqa: ANN401 - whatever the schema says
    """An instance of the schema: facts where a property's name asks for them, else the least.

    Understands objects (with named and with free keys), arrays, strings, numbers, booleans, enums,
    constants, lists of types and alternatives. `$ref` and `pattern` are not looked at.
    """
    return _value("", schema, _Scope(facts))


def _value(name: str, schema: dict[str, Any], scope: _Scope) -> Any:  # noqa: ANN401 - as above
    schema = _chosen(schema)
    if "const" in schema:
        return schema["const"]
    if options := sequence(schema.get("enum")):
        return _option(name, options, scope)
    maker: _Maker = _MAKERS.get(_type_of(schema), _text)
    return maker(name, schema, scope)


def _chosen(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its first alternative that is not null."""
    for word in ("anyOf", "oneOf"):
        for option in sequence(schema.get(word)):
            if mapping(option).get("type") != "null":
                return {**schema, word: None, **_chosen(mapping(option))}
    return schema


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [str(each) for each in sequence(schema.get("type")) if each != "null"]
        return kinds[0] if kinds else "null"
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _object(name: str, schema: dict[str, Any], scope: _Scope) -> dict[str, Any]:
    del name
    scope = replace(scope, depth=scope.depth + 1)
    properties = mapping(schema.get("properties"))
    required = sequence(schema.get("required"))
    # Free keys are files: that is what a map in a report is keyed by.
    if not properties and (free := mapping(schema.get("additionalProperties"))):
        files = scope.facts.files
        return {file.path: _value("", free, replace(scope, file=file)) for file in files}
    return {
        part: _value(part, mapping(properties[part]), scope)
        for part in properties
        if part in required or (scope.depth < _DEPTH and _is_known(part, properties[part], scope))
    }


def _is_known(name: str, schema: object, scope: _Scope) -> bool:
    """Whether an optional property is worth naming: an empty text or a line nobody knows is not."""
    kind = _type_of(_chosen(mapping(schema)))
    if kind == "string":
        return bool(mapping(schema).get("enum")) or _text(name, {}, scope) != ""
    return scope.finding is not None if name == "line" else True


def _array(name: str, schema: dict[str, Any], scope: _Scope) -> list[Any]:
    scope = replace(scope, depth=scope.depth + 1)
    item = _chosen(mapping(schema.get("items")))
    least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
    if _type_of(item) == "string" and "enum" not in item:
        values: list[Any] = _texts(name, scope)
    elif scope.depth >= _DEPTH:
        values = []
    else:
        values = [_value("", item, each) for each in _scopes(name, item, scope)]
    missing = least - len(values)
    values += [_value("", item, scope) for _ in range(missing)]
    return values if most is None else values[: int(most)]


def _scopes(name: str, item: dict[str, Any], scope: _Scope) -> Iterable[_Scope]:
    """What the items of a list of objects are about, one after the other."""
    parts = mapping(item.get("properties"))
    facts = scope.facts
    if any(part.startswith("test") for part in parts):
        return [replace(scope, test=test) for test in facts.tests]
    if name in _ISSUES or {"severity", "line"} & parts.keys():
        return [replace(scope, finding=finding) for finding in scope.findings]
    if "change" in name or "edit" in name:
        return [replace(scope, change=change) for change in facts.changes]
    if _PATHS & parts.keys():
        return [replace(scope, file=file) for file in facts.files]
    return []


def _texts(name: str, scope: _Scope) -> list[str]:
    if "test" in name:
        return [text for test in scope.facts.tests for text in test.names]
    if "changed" in name or "affected" in name or "modified" in name:
        return [change.file for change in scope.facts.changes]
    if "file" in name or "path" in name:
        return [file.path for file in scope.facts.files]
    if name in _ADVICE or any(name == f"{word}s" for word in _ADVICE):
        return list(dict.fromkeys(finding.suggestion for finding in scope.findings))
    if name in _ISSUES:
        return [f"{each.file}:{each.line} {each.message}" for each in scope.findings]
    return []


def _option(name: str, options: list[Any], scope: _Scope) -> Any:  # noqa: ANN401 - any JSON value
    wanted = ""
    if scope.finding:
        wanted = scope.finding.severity if name in ("severity", "level") else scope.finding.category
    return wanted if wanted in options else options[0]


def _text(name: str, schema: dict[str, Any], scope: _Scope) -> str:
    text = _known_text(name, scope)
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    text = text.ljust(least, ".")
    return text if most is None else text[: int(most)]


def _known_text(name: str, scope: _Scope) -> str:
    finding = scope.finding
    texts = dict.fromkeys(("code", "diff", "snippet", "pattern", "id"), "")
    texts |= dict.fromkeys(_PATHS, scope.path)
    texts |= dict.fromkeys(("test_file", "test_path"), scope.test.test_file if scope.test else "")
    texts |= dict.fromkeys(_ADVICE, finding.suggestion if finding else "")
    texts |= dict.fromkeys(("severity", "level"), finding.severity if finding else "")
    texts |= dict.fromkeys(_KINDS, finding.category if finding else "")
    return texts.get(name, scope.summary)


def _integer(name: str, schema: dict[str, Any], scope: _Scope) -> int:
    return int(_number(name, schema, scope))


def _number(name: str, schema: dict[str, Any], scope: _Scope) -> float:
    least = float(schema.get("minimum", schema.get("exclusiveMinimum", 0)))
    value = max(float(_known_number(name, scope)), least + ("exclusiveMinimum" in schema))
    return min(value, float(schema.get("maximum", value)))


def _known_number(name: str, scope: _Scope) -> int:
    if "line" in name:
        return scope.finding.line if scope.finding else 0
    if "test" in name:
        return scope.test.test_count if scope.test else scope.facts.test_count
    if any(word in name for word in ("changed", "affected", "modified", "changes")):
        return len({change.file for change in scope.facts.changes})
    if "file" in name:
        return len(scope.facts.files)
    if any(word in name for word in ("issue", "finding", "problem")):
        return len(scope.findings)
    return 0


def _truth(name: str, schema: dict[str, Any], scope: _Scope) -> bool:
    del schema
    if "change" in name or "refactor" in name or "modified" in name:
        return bool(scope.facts.changes)
    return "success" in name or name in ("ok", "done", "completed")


_MAKERS: dict[str, _Maker] = {
    "object": _object,
    "array": _array,
    "integer": _integer,
    "number": _number,
    "boolean": _truth,
    "null": lambda _name, _schema, _scope: None,
}
