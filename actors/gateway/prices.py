"""What tokens cost: the price table, and the cost of one answer. An unknown model costs None."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .usage import Usage

PRICES_FILE = Path(__file__).with_name("prices.yaml")
_MILLION = 1e6
# A dated release of a model, and the mark of its long context: both cost what the model costs.
_DATE = re.compile(r"-20[0-9]{6}$")
_MARK = re.compile(r"\[[^]]*\]$")

_Row = tuple[float, float, float, float, float]


class InvalidPrices(AgentError):
    """A price table cannot be used."""

    exit_code_of_command = 2

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"price table {self.path}: {self.reason}; take actors/gateway/prices.yaml as a model"


class _Long(msgspec.Struct, forbid_unknown_fields=True):
    over_tokens: int
    prices: _Row


class _File(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    as_of: Any
    columns: list[str]
    models: dict[str, _Row]
    long_prompt: dict[str, _Long] = {}


_COLUMNS = ["input", "cache_write_5m", "cache_write_1h", "cache_read", "output"]


@dataclass(frozen=True)
class Prices:
    """A price table.

    Attributes:
        source: where the prices are from.
        as_of: their date.
    """

    source: str
    as_of: str
    _models: Mapping[str, _Row]
    _long: Mapping[str, tuple[int, _Row]]

    def knows(self, model: str | None) -> bool:
        """Whether that model has a price."""
        return self._name(model) is not None

    def cost_usd(self, model: str | None, usage: Usage) -> float | None:
        """What those tokens cost; None when the model has no price here."""
        name = self._name(model)
        if name is None:
            return None
        written = usage.cache_creation_input_tokens
        long_lived = min(usage.cache_creation_1h_input_tokens, written)
        prompt = usage.input_tokens + written + usage.cache_read_input_tokens
        counts = (
            usage.input_tokens,
            written - long_lived,
            long_lived,
            usage.cache_read_input_tokens,
            usage.output_tokens,
        )
        row = self._row(name, prompt)
        return sum(n * price for n, price in zip(counts, row, strict=True)) / _MILLION

    def most_usd(self, model: str | None, *, input_tokens: int, output_tokens: int) -> float | None:
        """The most that a request can cost; None when the model has no price here."""
        name = self._name(model)
        if name is None:
            return None
        row = self._row(name, input_tokens)
        return (input_tokens * max(row[:4]) + output_tokens * row[4]) / _MILLION

    def _name(self, model: str | None) -> str | None:
        bare = _MARK.sub("", model or "")
        return next((n for n in (bare, _DATE.sub("", bare)) if n in self._models), None)

    def _row(self, name: str, prompt_tokens: int) -> _Row:
        over_tokens, row = self._long.get(name, (prompt_tokens, self._models[name]))
        return row if prompt_tokens > over_tokens else self._models[name]


@cache
def load_prices(path: Path = PRICES_FILE) -> Prices:
    """The table in that file.

    Raises:
        InvalidPrices: it cannot be read, or holds something else.
    """
    try:
        read = msgspec.yaml.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise InvalidPrices(str(path), f"cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise InvalidPrices(str(path), f"is wrong: {error}") from None
    if read.columns != _COLUMNS:
        raise InvalidPrices(str(path), f"needs the columns {', '.join(_COLUMNS)}")
    rows = [*read.models.values(), *(each.prices for each in read.long_prompt.values())]
    if any(price < 0 for row in rows for price in row):
        raise InvalidPrices(str(path), "holds a price below 0")
    long = {name: (each.over_tokens, each.prices) for name, each in read.long_prompt.items()}
    return Prices(read.source, str(read.as_of), read.models, long)
