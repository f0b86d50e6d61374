"""Look at a CSV file, then summarise every column of it into summary.json.

    python fileprocessor.py TABLE.csv [--rows 5] [--output summary.json]

The header and the first rows go to standard output. The summary has, for each column, its type, how many values it
has and how many are missing, and for numbers the least, the mean and the greatest, for dates the first and the last.
One row is in memory at a time, so that the file may be larger than the machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

MISSING = {"", "na", "n/a", "nan", "null", "none"}
NARROW_TO_WIDE = ("boolean", "integer", "number", "date", "text")


def integer(text: str) -> int | None:
    # A leading zero means a code, such as a postal one, and an underscore is Python's own way of writing numbers.
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 300 or (digits[0] == "0" and len(digits) > 1):
        return None
    return int(text)


def number(text: str) -> float | None:
    if "_" in text or (integer(text) is None and text.lstrip("+-").isdigit()):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def day(text: str) -> date | None:
    if len(text) != len("2012-01-31"):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


class Column:
    """What is known of one column so far; a type is given up with the first value that does not fit it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.missing = 0
        self._possible = dict.fromkeys(NARROW_TO_WIDE, True)
        self._numbers = Range()
        self._days = Range()

    def add(self, text: str) -> None:
        text = text.strip()
        if text.lower() in MISSING:
            self.missing += 1
            return
        self.count += 1
        if self._possible["boolean"]:
            self._possible["boolean"] = text.lower() in ("true", "false")
        if self._possible["integer"]:
            self._possible["integer"] = integer(text) is not None
        if self._possible["number"]:
            # An integer stays one: a float would round what has more than 15 digits.
            whole = integer(text)
            value = whole if whole is not None else number(text)
            self._possible["number"] = value is not None
            if value is not None:
                self._numbers.add(value)
        if self._possible["date"]:
            value_day = day(text)
            self._possible["date"] = value_day is not None
            if value_day is not None:
                self._days.add(value_day)

    @property
    def type(self) -> str:
        if self.count == 0:
            return "empty"
        return next(name for name in NARROW_TO_WIDE if self._possible[name])

    def summary(self) -> dict[str, Any]:
        result: dict[str, Any] = {"name": self.name, "type": self.type, "count": self.count, "missing": self.missing}
        if self.type in ("integer", "number"):
            result |= {"min": self._numbers.least, "mean": self._numbers.mean, "max": self._numbers.greatest}
        elif self.type == "date":
            result |= {"min": str(self._days.least), "max": str(self._days.greatest)}
        return result


class Range:
    """Least, greatest and mean of what has been added."""

    def __init__(self) -> None:
        self.least: Any = None
        self.greatest: Any = None
        self._count = 0
        self._sum = 0.0
        self._lost = 0.0

    def add(self, value: Any) -> None:
        self.least = value if self.least is None or value < self.least else self.least
        self.greatest = value if self.greatest is None or value > self.greatest else self.greatest
        self._count += 1
        if isinstance(value, int | float):
            self._accumulate(float(value))

    def _accumulate(self, value: float) -> None:
        """Neumaier's summation: what each addition rounds away is kept, so that a billion rows do not drift."""
        total = self._sum + value
        if abs(self._sum) >= abs(value):
            self._lost += (self._sum - total) + value
        else:
            self._lost += (value - total) + self._sum
        self._sum = total

    @property
    def mean(self) -> float:
        return (self._sum + self._lost) / self._count


def rows(path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(1 << 30)
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.reader(file):
            if row:  # csv gives an empty line as an empty row
                yield row


def process(path: Path, show: int, output: Path) -> int:
    """Print the head, write the summary, return how many rows there were."""
    table = rows(path)
    header = next(table, None)
    if header is None:
        raise SystemExit(f"{path} is empty: there is not even a header")
    print(", ".join(header))
    columns = [Column(name) for name in header]
    count = uneven = 0
    for row in table:
        count += 1
        if count <= show:
            print(", ".join(row))
        if len(row) != len(columns):
            uneven += 1
        for index, column in enumerate(columns):
            column.add(row[index] if index < len(row) else "")
        if count % 1_000_000 == 0:
            print(f"{count:,} rows", file=sys.stderr)
    summary = {
        "file": path.name,
        "rows": count,
        "uneven_rows": uneven,
        "columns": [column.summary() for column in columns],
    }
    output.write_text(json.dumps(summary, indent=2) + "\n")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Summarise the columns of a CSV file.")
    parser.add_argument("table", type=Path)
    parser.add_argument("--rows", type=int, default=5, help="how many rows to print (default: 5)")
    parser.add_argument("--output", type=Path, default=Path("summary.json"))
    arguments = parser.parse_args()
    try:
        count = process(arguments.table, arguments.rows, arguments.output)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f"{arguments.table}: {error}") from error
    print(f"{count:,} rows summarised into {arguments.output}")


if __name__ == "__main__":
    main()
