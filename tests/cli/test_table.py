"""Tables: what a terminal of some width shows, and what a pipe is given."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.on_terminal import shown_on_terminal

from skylift.cli.table import Cell, Column, fit, show_table

COLUMNS = (Column("NAME"), Column("RUNS", least=6), Column("AGE", right=True), Column("ADDRESS", spare=1))
ROW = ("quiet-river", "python train.py --epochs 100", "5m", "127.32.0.17")


def on_terminal(width: int, columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> str:
    return shown_on_terminal(width, lambda: show_table(columns, rows))


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "quiet-river  python train.py --epochs 100   5m  127.32.0.17"),
        (48, "quiet-river  python train.py …   5m  127.32.0.17"),
        (40, "quiet-river  python train.py --epo…   5m"),
        (24, "quiet-river  pytho…   5m"),
    ],
)
def test_a_terminal_is_never_too_narrow(width: int, shown: str) -> None:
    lines = on_terminal(width, COLUMNS, [ROW]).replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert lines[1].rstrip() == shown
    assert all(cell_len(line) <= width for line in lines)


def test_narrower_than_that_cells_are_folded() -> None:
    lines = on_terminal(16, COLUMNS, [ROW]).splitlines()
    assert len(lines) > 3
    assert "".join(line.split()[0] for line in lines if line.split()).count("quiet") == 1


def test_a_pipe_has_everything(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR")
    long = "x" * 5000
    show_table(COLUMNS, [ROW, ("b", long, "1h", "")])
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["NAME", "RUNS", "AGE", "ADDRESS"]
    assert out.splitlines()[2].split() == ["b", long, "1h", "-"]
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[red]x[/red]", "[red]x[/red]"),
        (":smile: [link=http://x]y", ":smile: [link=http://x]y"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb", r"a\nb"),
        ("a\r\x07\tb", r"a\r\x07\tb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2028b\x85", r"a\u2028b\x85"),
    ],
)
def test_hostile_text_is_spelt(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    columns = (Column("NAME"), Column("WHY", least=4))
    show_table(columns, [(text, text)])
    assert capsys.readouterr().out.splitlines()[1:] == [f"{shown}  {shown}"]
    lines = on_terminal(100, columns, [(Cell(text, "red"), text)]).splitlines()
    assert [line.rstrip() for line in lines[1:]] == [f"{shown}  {shown}"]


def test_wide_letters_count_twice(capsys: pytest.CaptureFixture[str]) -> None:
    show_table((Column("A"), Column("B")), [("日本", "x"), ("ab", "y")])
    assert capsys.readouterr().out.splitlines() == ["A     B", "日本  x", "ab    y"]


@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.integers(0, 12), st.integers(0, 3)).map(lambda each: (each[0], each[1:])),
        min_size=1,
        max_size=9,
    ),
    st.integers(1, 200),
)
def test_what_fits(wanted: list[tuple[int, tuple[int, int]]], room: int) -> None:
    columns = [Column("", least=least, spare=spare) for _, (least, spare) in wanted]
    natural = [width for width, _ in wanted]
    widths = fit(columns, natural, room)
    needed = [number for number, column in enumerate(columns) if not column.spare]
    assert set(needed) <= set(widths)
    assert all(1 <= width <= natural[number] for number, width in widths.items())
    assert sum(widths.values()) + 2 * (len(widths) - 1) <= room or set(widths.values()) == {1}
    if sum(natural) + 2 * (len(natural) - 1) <= room:
        assert widths == dict(enumerate(natural))
