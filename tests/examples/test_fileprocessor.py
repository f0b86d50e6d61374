"""The CSV example, run as a user runs it, against expectations computed the naive way."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(__file__).parents[2] / "examples/csv/fileprocessor.py"
SAMPLE = EXAMPLE.parent / "sample.csv"


def process(table: Path, *options: str) -> tuple[str, dict[str, Any]]:
    output = table.parent / "summary.json"
    command = [sys.executable, str(EXAMPLE), str(table), "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, json.loads(output.read_text())


def columns(tmp_path: Path, text: str) -> dict[str, dict[str, Any]]:
    (tmp_path / "t.csv").write_text(text)
    _, summary = process(tmp_path / "t.csv")
    return {column.pop("name"): column for column in summary["columns"]}


def test_the_sample_is_summarised_right(tmp_path: Path) -> None:
    table = tmp_path / "sample.csv"
    table.write_bytes(SAMPLE.read_bytes())
    said, summary = process(table, "--rows", "2")
    with SAMPLE.open(newline="") as file:
        naive = list(csv.DictReader(file))
    assert summary["rows"] == len(naive) >= 1000
    assert said.splitlines()[:3] == [", ".join(row) for row in (naive[0], naive[0].values(), naive[1].values())]
    for column in summary["columns"]:
        values = [row[column["name"]] for row in naive]
        if column["type"] == "number":
            numbers = [float(value) for value in values]
            assert (column["min"], column["max"]) == (min(numbers), max(numbers))
            assert column["mean"] == pytest.approx(statistics.fmean(numbers), rel=1e-14)
        elif column["type"] == "date":
            assert (column["min"], column["max"]) == (min(values), max(values))
        assert (column["count"], column["missing"]) == (len(values), 0)
    kinds = {column["name"]: column["type"] for column in summary["columns"]}
    assert kinds == {
        "date": "date",
        "precipitation": "number",
        "temp_max": "number",
        "temp_min": "number",
        "wind": "number",
        "weather": "text",
    }


def test_types(tmp_path: Path) -> None:
    found = columns(
        tmp_path, "flag,whole,real,code,mixed,day,none\ntrue,1,1.5,007,1,2020-02-29,\nFALSE,-2,2,08,x,2021-01-01,NA\n"
    )
    assert {name: column["type"] for name, column in found.items()} == {
        "flag": "boolean",
        "whole": "integer",
        "real": "number",
        "code": "text",
        "mixed": "text",
        "day": "date",
        "none": "empty",
    }
    assert found["none"] == {"type": "empty", "count": 0, "missing": 2}


def test_rows_of_the_wrong_length_are_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1\n1,2,3\n\n1,2\n")
    _, summary = process(tmp_path / "t.csv")
    assert (summary["rows"], summary["uneven_rows"]) == (3, 2)
    assert summary["columns"][1]["missing"] == 1


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"a\n\xff\n", "can't decode"), (None, "No such file")]
)
def test_what_cannot_be_read_is_told_without_a_traceback(tmp_path: Path, content: bytes | None, said: str) -> None:
    table = tmp_path / "t.csv"
    if content is not None:
        table.write_bytes(content)
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(table)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "summary.json").exists()


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15), min_size=1, max_size=40)
)
def test_numbers_are_summarised_as_by_definition(numbers: list[float]) -> None:
    sys.path.insert(0, str(EXAMPLE.parent))
    try:
        import fileprocessor  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(EXAMPLE.parent))
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "t.csv"
        table.write_text("n\n" + "".join(f"{number!r}\n" for number in numbers))
        fileprocessor.process(table, 0, Path(place) / "s.json")
        (column,) = json.loads((Path(place) / "s.json").read_text())["columns"]
    assert (column["min"], column["max"], column["count"]) == (min(numbers), max(numbers), len(numbers))
    assert column["mean"] == pytest.approx(statistics.fmean(numbers), rel=1e-9, abs=1e-6)
