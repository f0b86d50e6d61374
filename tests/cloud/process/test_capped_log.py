"""The log of a cloud that runs for months."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

from skylift.cloud.process.log import OneLine

SAY = """
import logging, os, sys
from pathlib import Path
from skylift.cloud.process.log import CappedLog
log, times = Path(sys.argv[1]), int(sys.argv[2])
logging.basicConfig(level=logging.INFO, handlers=[CappedLog(log, longest=1000)], format="%(message)s")
for number in range(times):
    logging.info("line %03d", number)
print("a word from elsewhere", flush=True)
"""


def say(log: Path, times: int, flags: int = os.O_APPEND) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    try:
        subprocess.run(
            [sys.executable, "-c", SAY, log, str(times)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            check=True,
        )
    finally:
        os.close(descriptor)


def test_a_long_log_is_begun_anew_and_its_last_part_is_kept(tmp_path: Path) -> None:
    log, last = tmp_path / "cloud.log", tmp_path / "cloud.log.1"
    say(log, 250)
    # Nine bytes a line: 112 of them are the first to be more than 1,000 bytes.
    assert last.read_text().splitlines() == [f"line {number:03}" for number in range(112, 224)]
    assert log.read_text().splitlines() == [
        *(f"line {number:03}" for number in range(224, 250)),
        "a word from elsewhere",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cloud.log", "cloud.log.1"]
    assert [path.stat().st_mode & 0o777 for path in (log, last)] == [0o600, 0o600]


def test_a_log_goes_on_where_the_last_process_ended(tmp_path: Path) -> None:
    log = tmp_path / "cloud.log"
    for _ in range(2):
        say(log, 20)
    assert log.read_text().count("line 019\n") == 2


def test_what_is_not_the_log_is_left_alone(tmp_path: Path) -> None:
    """Somebody who starts the process by hand has its words where they wanted them."""
    other = tmp_path / "other"
    descriptor = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    (tmp_path / "cloud.log").touch()
    try:
        subprocess.run(
            [sys.executable, "-c", SAY, tmp_path / "cloud.log", "250"], stdout=descriptor, stderr=descriptor, check=True
        )
    finally:
        os.close(descriptor)
    assert other.read_text().count("line") == 250
    assert (tmp_path / "cloud.log").read_text() == ""


def test_a_message_is_one_line_whatever_is_in_it() -> None:
    """A parameter with a line break must not look like a line of the log's own; nor may a terminal obey one."""
    message = "x\n2026-11-28 INFO a line of its own\r\x1b[2J\u2028\u202e\ud800"
    record = logging.LogRecord("n", logging.INFO, "f", 1, "refused: %s", (message,), None)
    written = OneLine("%(levelname)s %(message)s").format(record)
    assert written == r"INFO refused: x\n2026-11-28 INFO a line of its own\r\x1b[2J\u2028\u202e\ud800"


def test_each_line_has_the_time_of_its_own_record() -> None:
    lines = OneLine("%(asctime)s %(message)s")
    usual = logging.Formatter("%(asctime)s %(message)s")
    for created in (1764412800.0, 1764412800.25, 1764412801.999, 1764412800.5, 1764499200.001):
        record = logging.LogRecord("n", logging.INFO, "f", 1, "message", (), None)
        record.created, record.msecs = created, created % 1 * 1000
        assert lines.format(record) == usual.format(record)


def test_the_clouds_log_has_lines_and_tracebacks(tmp_path: Path) -> None:
    log = tmp_path / "cloud.log"
    fail = """
import logging, sys
from pathlib import Path
from skylift.cloud.process.log import log_to
log_to(Path(sys.argv[1]))
logging.getLogger("skylift.cloud").info("request %s", "GetObject")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("skylift.cloud").exception("a fault")
"""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        subprocess.run([sys.executable, "-c", fail, log], stderr=descriptor, check=True)
    finally:
        os.close(descriptor)
    first, second, *traceback = log.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO skylift.cloud: request GetObject", first)
    assert second.endswith(" ERROR skylift.cloud: a fault")
    assert traceback[-1] == "ZeroDivisionError: division by zero"
