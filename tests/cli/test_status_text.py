"""The words of the line at the bottom: what of them has room."""

from __future__ import annotations

import pytest

from skylift.cli.bottom_line import cut, width_of
from skylift.cli.status_text import fit, spell_part, spell_progress, spell_run, spell_sent, spell_used, spell_whole
from skylift.client.watch.monitor import RunningProgram
from skylift.contract.stream import Gauge, Sending

RUN = RunningProgram(started=1000.0, booted=990.0, max_time=3600, hourly=0.0208, charged=False)
GAUGE = Gauge(processor=0.453, memory=1288490188, memory_limit=4 << 30)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (119, " 12m 03s of 1h · cpu 45% · 1.2 of 4.0 GiB · ≈ $0.0042 on AWS · ~. leaves"),
        (79, " 12m 03s of 1h · cpu 45% · 1.2 of 4.0 GiB · ≈ $0.0042 on AWS · ~. leaves"),
        (60, " 12m 03s of 1h · cpu 45% · 1.2 of 4.0 GiB · ~. leaves"),
        (39, " 12m 03s of 1h · cpu 45% · ~. leaves"),
        (30, " 12m 03s of 1h · ~. leaves"),
        (19, " 12m 03s of 1h"),
        (5, " 12m "),
    ],
)
def test_what_has_room(columns: int, text: str) -> None:
    assert spell_run(RUN, GAUGE, "~. leaves", 1723.0, columns) == text
    assert width_of(text) <= columns


def test_what_nobody_knows_is_left_out() -> None:
    bare = RunningProgram(started=1000.0, booted=990.0)
    assert spell_run(bare, Gauge(), "", 1012.9, 79) == " 12 s"
    # A server whose clock is ahead of ours.
    assert spell_run(bare, Gauge(), "", 900.0, 79) == " 0 s"


def test_the_cost_is_what_is_billed() -> None:
    charged = RunningProgram(started=1000.0, booted=990.0, hourly=0.36)
    assert spell_run(charged, Gauge(), "", 1001.0, 79) == " 1 s · ≈ $0.0060"
    assert spell_run(charged, Gauge(), "", 1090.0, 79) == " 1m 30s · ≈ $0.01"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 s"), (59.9, "59 s"), (60, "1m"), (65, "1m 05s"), (3600, "1h"), (5430, "1h 30m")]
)
def test_seconds(seconds: float, text: str) -> None:
    assert spell_whole(seconds) == text


def test_parts_have_the_unit_of_the_whole() -> None:
    assert spell_part(1288490188, 4 << 30) == "1.2 of 4.0 GiB"
    assert spell_part(100, 1 << 20) == "0.0 of 1.0 MiB"
    assert spell_part(0, 17) == "0 of 17 B"


@pytest.mark.parametrize(
    ("used", "whole", "text"),
    [
        (37 << 20, 2 << 30, "37 MiB of 2.0 GiB"),
        (1023 << 20, 2 << 30, "1023 MiB of 2.0 GiB"),
        (1 << 30, 2 << 30, "1.0 of 2.0 GiB"),
        (37 << 20, 512 << 20, "37 of 512 MiB"),
        (0, 512 << 20, "0 of 512 MiB"),
    ],
)
def test_what_is_small_is_told_in_mebibytes(used: int, whole: int, text: str) -> None:
    assert spell_used(used, whole) == text


def test_results_on_their_way() -> None:
    assert spell_sent(Gauge()) == ""
    sending = Gauge(sending=Sending(files=5000, files_sent=120, size=10 << 20, size_sent=1 << 20))
    assert spell_sent(sending) == "120 of 5000 files, 1.0 of 10.0 MiB up"


def test_files_are_counted_where_they_are_known() -> None:
    assert spell_progress(1 << 20, 10 << 20, (120, 5000)) == "120 of 5000 files, 1.0 of 10.0 MiB"
    assert spell_progress(0, 17, (0, 1)) == "0 of 1 file, 0 of 17 B"
    assert spell_progress(0, 17) == "0 of 17 B"


def test_wide_letters_take_two_columns() -> None:
    assert width_of("héllo e\u0301 漢字") == 12
    assert cut("漢字漢字", 5) == "漢字"
    assert fit([(0, "漢字" * 30)], 10, before=" ") == " 漢字漢字"
