"""How a document is declared, written and read. It is a NamedTuple whose fields have their limits beside their types:

    class Pack(NamedTuple):
        sha256: Annotated[str, Text(64, SHA256), "the archive"]
        files: Annotated[int, Range(0, MOST), ALWAYS, "how many entries it has"] = 0

What is read is hostile until then: each field is checked, or refused with the reason. A field without a default must be
there. Another one may be missing or null, as in what an earlier version has written; it is written where it is not the
default, or ALWAYS. Fields that are not declared are dropped, as those of a later version. A text or a number without
limits cannot be declared. Where fields must fit each other, the document has a method `check` that raises Malformed.

Dataclasses would take a server 12 ms to import.
"""

import json
import math
import re
from datetime import datetime
from functools import lru_cache, partial
from typing import (
    Annotated,
    Any,
    Callable,
    Dict,
    List,
    Literal,
    NamedTuple,
    NoReturn,
    Optional,
    Pattern,
    Tuple,
    Type,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

T = TypeVar("T")
Reader = Callable[[Any], Any]
ALWAYS = ("written, whatever it is",)
MOMENT = ("a time in UTC, like 2026-01-31T12:00:00.000Z",)
FOREVER = 253402300799.0
"""The end of the year 9999, in seconds since the epoch: the last time that can be formatted."""
_REQUIRED = ("no default",)
_SHOWN = 40
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)")


class Malformed(Exception):
    """`str()` is the reason, as the end of a sentence that begins with the file."""


class Text(NamedTuple):
    """At most so many characters, and of a form if there is one."""

    most: int
    form: Optional[Pattern[str]] = None


class Range(NamedTuple):
    """Of a number, with both ends."""

    low: float
    high: float


class Most(NamedTuple):
    """Entries of a list."""

    entries: int


class Among(NamedTuple):
    """One of these words."""

    words: Tuple[str, ...]


def parse(kind: Callable[..., T], data: bytes, most: int) -> T:
    """The document in at most `most` bytes. Raises Malformed."""
    return read(kind, parse_json(data, most), "it")


def read(kind: Callable[..., T], found: object, name: str) -> T:
    """Raises Malformed."""
    if not isinstance(found, dict):
        raise Malformed("%s is not an object" % name)
    values = []
    for field, reader, default in _fields(kind):
        value = found.get(field)
        if value is not None:
            values.append(reader(value))
        elif default is _REQUIRED:
            raise Malformed("`%s` is missing" % field)
        else:
            values.append(default)
    document = kind(*values)
    if hasattr(document, "check"):
        document.check()
    return document


def write(document: Any) -> Dict[str, Any]:
    """The document as JSON has it."""
    kind: Any = type(document)
    return {name: _plain(value) for (name, default), value in zip(_written(kind), document) if value != default}


@lru_cache(maxsize=None)
def _written(kind: Any) -> List[Tuple[str, Any]]:
    """Each field, and the value with which it is left out."""
    defaults, hints = kind._field_defaults, kind.__annotations__
    return [
        (name, _REQUIRED if ALWAYS in get_args(hint) else defaults.get(name, _REQUIRED)) for name, hint in hints.items()
    ]


def _plain(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    return write(value) if hasattr(value, "_fields") else [_plain(each) for each in value]


@lru_cache(maxsize=None)
def _fields(kind: Any) -> List[Tuple[str, Reader, Any]]:
    defaults, hints = kind._field_defaults, kind.__annotations__
    return [(name, _reader(hint, "`%s`" % name, ()), defaults.get(name, _REQUIRED)) for name, hint in hints.items()]


def _reader(hint: Any, name: str, limits: Tuple[Any, ...]) -> Reader:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return _reader(parts[0], name, parts[1:])
    if kind is Union:
        return _reader(next(each for each in parts if each is not type(None)), name, limits)
    if kind is Literal:
        return partial(_one_of, str, name, parts)
    for words in (each.words for each in limits if isinstance(each, Among)):
        return partial(_one_of, kind, name, words)
    if MOMENT in limits:
        return partial(as_moment, name)
    if kind is dict:
        return partial(_object, name)
    if kind is bool:
        return partial(_flag, name)
    if kind is tuple and parts[-1] is not ...:
        return partial(_row, name, [_reader(each, "an entry of %s" % name, ()) for each in parts])
    if kind is tuple:
        return partial(_list, name, _limit(Most, name, limits), _reader(parts[0], "an entry of %s" % name, ()))
    if kind is str:
        return _text(name, *_limit(Text, name, limits))
    if kind in (int, float):
        check, (low, high) = as_integer if kind is int else as_number, _limit(Range, name, limits)
        return lambda value: value if type(value) is kind and low <= value <= high else check(value, name, low, high)
    return lambda value: read(kind, value, name)


def _limit(kind: Type[T], name: str, limits: Tuple[Any, ...]) -> T:
    for each in limits:
        if isinstance(each, kind):
            return each
    raise TypeError("%s has no %s" % (name, kind.__name__))


def _text(name: str, most: int, form: Optional[Pattern[str]]) -> Callable[[Any], str]:
    def read_text(value: Any) -> str:
        if not isinstance(value, str):
            raise Malformed("%s is not text" % name)
        if len(value) > most:
            raise Malformed("%s has more than %d characters" % (name, most))
        if form is not None and form.fullmatch(value) is None:
            raise Malformed("%s cannot be %s" % (name, shown(value)))
        return value

    return read_text


def _one_of(kind: Type[T], name: str, words: Tuple[str, ...], value: Any) -> T:
    if value in words:
        return kind(value)  # type: ignore[call-arg]
    raise Malformed("%s cannot be %s" % (name, shown(_text(name, 64, None)(value))))


def as_moment(name: str, value: Any) -> str:
    """A time from 1970 on."""
    text = _text(name, 32, _MOMENT)(value)
    try:
        if datetime.fromisoformat(text.replace("Z", "+00:00")).year >= 1970:
            return text
    except ValueError:
        pass
    raise Malformed("%s cannot be %s" % (name, shown(text)))


def _flag(name: str, value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise Malformed("%s is neither true nor false" % name)


def _object(name: str, value: Any) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("%s is not an object" % name)
    return value


def _list(name: str, most: Most, entry: Reader, value: Any) -> Tuple[Any, ...]:
    if not isinstance(value, list):
        raise Malformed("%s is not a list" % name)
    if len(value) > most.entries:
        raise Malformed("%s has more than %d entries" % (name, most.entries))
    return tuple([entry(each) for each in value])


def _row(name: str, entries: "list[Reader]", value: Any) -> Tuple[Any, ...]:
    if not isinstance(value, list) or len(value) != len(entries):
        raise Malformed("%s is not a list of %d" % (name, len(entries)))
    return tuple([entry(each) for entry, each in zip(entries, value)])


def as_integer(value: object, name: str, low: float, high: float) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed("%s is not a whole number" % name)
    if not low <= value <= high:
        raise Malformed("%s is not between %s and %s" % (name, low, high))
    return value


def as_number(value: object, name: str, low: float, high: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Malformed("%s is not a number" % name)
    # Not converted: an integer may be too large for a float.
    if (isinstance(value, float) and not math.isfinite(value)) or not low <= value <= high:
        raise Malformed("%s is not between %g and %g" % (name, low, high))
    return float(value)


def parse_json(data: bytes, most: int) -> Any:
    """Any JSON of at most `most` bytes of UTF-8. Raises Malformed for anything else, also for deep nesting, for NaN and
    Infinity, and for numbers with thousands of digits."""
    if len(data) > most:
        raise Malformed("it has more than %d bytes" % most)
    try:
        return _DECODER.decode(data.decode())
    except UnicodeDecodeError:
        raise Malformed("it is not UTF-8") from None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    except ValueError as error:
        raise Malformed("it is not JSON (%s)" % str(error)[:80]) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError("%s is no number of JSON" % name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def shown(text: str) -> str:
    """A short text without control characters."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
