"""Frozen dataclasses to rows and back: a field is a column of the same name, what SQLite cannot hold is JSON."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from sqlite3 import Cursor
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

Reader = Callable[[Any], Any]
Follow = Callable[[Any, Any, bool], None]
"""Called in the transaction with each row that was added or saved, and with True as the last argument for each deleted
one.
"""

TABLES: dict[type, Table[Any]] = {}
"""The table of every stored noun, by its class."""
_TEXTS: dict[Any, Reader] = {}


def table(
    noun: type[T], name: str, *, key: tuple[str, ...], follow: Follow | None = None, kept: tuple[str, ...] = ()
) -> Table[T]:
    """Declare where a noun is kept. Called once per noun, in the store's own file for it. The tuples in the `kept`
    columns take long to read and to make: the same text is read once, and written as it was read."""
    return TABLES.setdefault(noun, Table(noun, name, key, follow, kept))


def as_text(kinds: Any, read: Callable[[str], Any]) -> None:
    """Declare that values of any of these classes, a union, are kept as text: what `str` makes of them."""
    _TEXTS[kinds] = read
    _TEXTS.update(dict.fromkeys(typing.get_args(kinds), read))


def mapped(noun: type[T]) -> Table[T]:
    return TABLES[noun]


class Table(Generic[T]):
    """The columns and statements of one noun."""

    def __init__(
        self, noun: type[T], name: str, key: tuple[str, ...], follow: Follow | None = None, kept: tuple[str, ...] = ()
    ) -> None:
        self.noun = noun
        self.name = name
        self.key = key
        self.follow = follow
        self._kept = kept
        self._wheres: dict[tuple[str, ...], str] = {}

    def decode_all(self, rows: Cursor) -> list[T]:
        return [self.decode(row) for row in rows]

    @cached_property
    def columns(self) -> dict[str, Any]:
        hints = typing.get_type_hints(self.noun)
        return {field.name: hints[field.name] for field in dataclasses.fields(self.noun)}  # type: ignore[arg-type]

    @cached_property
    def select(self) -> str:
        return f"SELECT {self._quoted} FROM {self.name}"  # noqa: S608 - names of ours

    def where(self, columns: tuple[str, ...]) -> str:
        """The statement that finds rows by the values of these columns."""
        known = self._wheres.get(columns)
        if known is None:
            for column in columns:
                self._require(column)
            condition = " AND ".join(f'"{column}" IS ?' for column in columns)
            known = f"{self.select} {'WHERE ' + condition if condition else ''} ORDER BY rowid"
            self._wheres[columns] = known
        return known

    @cached_property
    def insert(self) -> str:
        return f"INSERT INTO {self.name} ({self._quoted}) VALUES ({', '.join('?' * len(self.columns))})"  # noqa: S608 - names of ours

    @cached_property
    def update(self) -> str:
        assignments = ", ".join(f'"{column}" = ?' for column in self.columns)
        return f"UPDATE {self.name} SET {assignments} WHERE {self._by_key}"  # noqa: S608 - names of ours

    @cached_property
    def delete(self) -> str:
        return f"DELETE FROM {self.name} WHERE {self._by_key}"  # noqa: S608 - names of ours

    @property
    def _by_key(self) -> str:
        return " AND ".join(f'"{column}" = ?' for column in self.key)

    @property
    def _quoted(self) -> str:
        """A field may be called what SQL has a keyword for (`index`)."""
        return ", ".join(f'"{column}"' for column in self.columns)

    def values(self, noun: T) -> list[Any]:
        return [to_column(getattr(noun, column)) for column in self.columns]

    def key_values(self, noun: T) -> list[Any]:
        return [to_column(getattr(noun, column)) for column in self.key]

    def encode(self, column: str, value: Any) -> Any:
        self._require(column)
        return to_column(value)

    def _require(self, column: str) -> None:
        if column not in self.columns:
            raise KeyError(f"{self.noun.__name__} has no field {column}")

    def decode(self, row: tuple[Any, ...]) -> T:
        values = list(row)
        for at, read in self._readers:
            value = values[at]
            if value is not None:
                values[at] = read(value)
        return self.noun(*values)

    @cached_property
    def _readers(self) -> list[tuple[int, Reader]]:
        """The columns that need a reader, by position. Computed once, because rows are decoded many thousand times a
        second."""
        readers = [(name, column_reader(hint)) for name, hint in self.columns.items()]
        return [
            (at, _keeping(read) if name in self._kept else read)
            for at, (name, read) in enumerate(readers)
            if read is not None
        ]


def weight(noun: Any) -> int:
    """The number of characters of a noun's row."""
    return sum(len(value) for value in mapped(type(noun)).values(noun) if isinstance(value, str))


class _Written(tuple[T, ...]):
    """A tuple with its encoded column, which took long to make."""

    column: str


def written(items: Iterable[T]) -> tuple[T, ...]:
    """A tuple that is encoded for its column now, and not in the transaction that writes it."""
    made = _Written(items)
    made.column = to_column(tuple(made))
    return made


def _keeping(read: Reader) -> Reader:
    @lru_cache(maxsize=16)
    def kept(column: str) -> Any:
        made = _Written(read(column))
        made.column = column
        return made

    return kept


def to_column(value: Any) -> Any:
    if isinstance(value, _Written):
        return value.column
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if not value:
        return "{}" if isinstance(value, dict) else "[]"
    return json.dumps(value, default=_to_json, separators=(",", ":"))


_scan = json.JSONDecoder().raw_decode


def from_json(text: str) -> Any:
    """What `to_column` has written. `json.loads` looks for white space around it, which takes longer than the rest."""
    return _scan(text)[0]


def column_reader(hint: Any) -> Reader | None:
    """The reader of a column of this type; None if SQLite holds the value itself."""
    hint = _without_none(hint)
    if hint in (int, float, str, bytes) or typing.get_origin(hint) is Literal:
        return None
    if hint is bool:
        return bool
    if hint is datetime:
        return datetime.fromisoformat
    within = _json_reader(hint)
    read = from_json if within is None else lambda text: within(from_json(text))
    return _with_empty(read, typing.get_origin(hint))


def _with_empty(read: Reader, kind: Any) -> Reader:
    """Most of an object's columns are empty, which needs no reader."""
    if kind is tuple:
        return lambda text: () if text == "[]" else read(text)
    if kind is dict:
        return lambda text: {} if text == "{}" else read(text)
    return read


def _to_json(value: Any) -> Any:
    """What JSON has for a value that is none of its own kinds. It comes to what is within by itself."""
    if type(value) in _TEXTS:
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return {name: getattr(value, name) for name in _field_names(value.__class__)}


@cache
def _field_names(noun: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(noun))


def _json_reader(hint: Any) -> Reader | None:
    """How a value of this type is made of what JSON can say; None where it is that already."""
    hint = _without_none(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _TEXTS:
        return _TEXTS[hint]
    if hint is datetime:
        return datetime.fromisoformat
    if dataclasses.is_dataclass(hint):
        return _noun_reader(hint)
    if origin is tuple:
        item = _json_reader(arguments[0])
        return tuple if item is None else lambda value: tuple(_read(item, one) for one in value)
    if origin is list:
        item = _json_reader(arguments[0])
        return None if item is None else lambda value: [_read(item, one) for one in value]
    if origin is dict:
        item = _json_reader(arguments[1])
        return None if item is None else lambda value: {key: _read(item, one) for key, one in value.items()}
    return None


def _noun_reader(noun: Any) -> Reader:
    readers = {name: _json_reader(hint) for name, hint in typing.get_type_hints(noun).items()}
    return lambda value: noun(**{name: _read(readers[name], one) for name, one in value.items()})


def _read(read: Reader | None, value: Any) -> Any:
    return value if value is None or read is None else read(value)


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kept = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(kept) == 1:
            return kept[0]
    return hint
