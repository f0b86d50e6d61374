"""The job's record, by its declaration: what is written is read, and one that was written before is still read."""

import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given
from support.hostile_json import files

from skylift.agent.job.job_record import parse_record as parse_on_server
from skylift.agent.remote.aws import Refused
from skylift.client.errors import RecordDamaged
from skylift.client.job.record import parse_record
from skylift.contract.document import ALWAYS, Malformed, Range, Text, parse, write
from skylift.contract.record import RECORD_LIMIT, JobRecord

HERE = Path(__file__).parent
RECORDED = sorted((HERE / "recorded").glob("record-*.json"))
"""What the client wrote before the record was declared here."""
FULL = json.loads((HERE / "recorded" / "record-spot.json").read_bytes())


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_record_of_before_is_read_whole_and_written_alike(path: Path) -> None:
    data = path.read_bytes()
    record = parse_on_server(data)
    assert record == parse_record("record.json", data)
    assert json.loads(json.dumps(write(record))) == json.loads(data)


def with_a_field(kind: Any) -> Any:
    """The document with one line more."""
    more = Annotated[str, Text(9), "what is new"]
    fields = [(name, kind.__annotations__[name]) for name in kind._fields]
    made = NamedTuple(kind.__name__, [*fields, ("added", more)])  # type: ignore[misc]
    made.__new__.__defaults__ = (*kind.__new__.__defaults__, "")
    made._field_defaults = {**kind._field_defaults, "added": ""}
    return made


def test_a_field_more_is_one_line() -> None:
    """It is written, read, refused and documented."""
    kind = with_a_field(JobRecord)
    record = kind(created=1.0, deadline=2.0, added="x")
    stored = json.dumps(write(record)).encode()
    assert parse(kind, stored, RECORD_LIMIT) == record
    assert json.loads(stored)["added"] == "x"
    assert parse(kind, json.dumps(FULL).encode(), RECORD_LIMIT).added == ""
    for wrong, why in ((1, "`added` is not text"), ("x" * 10, "`added` has more than 9 characters")):
        with pytest.raises(Malformed, match=why):
            parse(kind, json.dumps({**FULL, "added": wrong}).encode(), RECORD_LIMIT)
    assert "| `added` | text, at most 9 characters | `''` | what is new |" in list(formats_page().table(kind, kind))
    # An earlier version drops it.
    assert parse(JobRecord, stored, RECORD_LIMIT) == JobRecord(created=1.0, deadline=2.0)


def test_a_field_without_limits_cannot_be_declared() -> None:
    class Endless(NamedTuple):
        text: Annotated[str, ALWAYS]

    with pytest.raises(TypeError, match="`text` has no Text"):
        parse(Endless, b'{"text": "x"}', 99)


def test_any_number_within_its_range() -> None:
    class Numbers(NamedTuple):
        part: Annotated[float, Range(0, 1)]

    assert parse(Numbers, b'{"part": 1}', 99) == (1.0,)
    for wrong in (b"true", b"2", b"-0.1", b"1e999", b'"1"', b"[]"):
        with pytest.raises(Malformed, match="`part` is not"):
            parse(Numbers, b'{"part": ' + wrong + b"}", 99)


@given(files(FULL))
def test_any_record(data: bytes) -> None:
    """Both ends read the same, or refuse it."""
    try:
        found = parse_record("record.json", data)
    except RecordDamaged:
        with pytest.raises(Refused):
            parse_on_server(data)
        return
    assert parse(JobRecord, json.dumps(write(found)).encode(), RECORD_LIMIT) == found
    assert not found.cwd.startswith("/")
    assert ".." not in found.cwd.split("/")


@pytest.mark.parametrize("name", ["argv", "max_time"])
def test_a_server_starts_nothing_by_a_record_that_does_not_say_what_or_for_how_long(name: str) -> None:
    less = json.dumps({key: value for key, value in FULL.items() if key != name}).encode()
    with pytest.raises(Refused, match="does not say what to run, or for how long"):
        parse_on_server(less)
    assert parse_on_server(json.dumps({**json.loads(less), "seal": True}).encode()).seal


def formats_page() -> Any:
    place = HERE.parents[1] / "scripts" / "formats_page.py"
    spec = importlib.util.spec_from_file_location("formats_page", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_formats_is_current() -> None:
    module = formats_page()
    assert module.PAGE.read_text() == module.page(), "python scripts/formats_page.py writes it"
