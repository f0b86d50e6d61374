"""`skylift ps`: its table, at the widths of terminals that people have."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

import pytest
from rich.cells import cell_len
from support.on_terminal import shown_on_terminal

from skylift.cli.main import perform
from skylift.cli.ps import _spell_time, show_jobs
from skylift.client.jobs.listing import Listed


def at(ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))


def job(name: str, state: str = "running", **more: Any) -> Listed:
    told: dict[str, Any] = {"instance": "i-0123456789abcdef0", "instance_state": "running", "type": "t3.small"}
    told |= {"address": "127.32.0.17", "launched": at(9000), "exit_code": None, "started": at(240), "ended": None}
    told |= {"program": "train.py --epochs 100 --rate 0.001 --out model.pt", "created": at(300), "seconds": 245.0}
    return Listed(name=name, state=state, **{**told, "cost_usd": 0.00152, "off_by": at(-1400), **more})


def jobs() -> list[Listed]:
    return [
        job("train-7k2m"),
        job(
            "a-name-that-is-as-long-as-it-may-be-x2345",
            "environment-failed",
            exit_code=123,
            seconds=None,
            cost_usd=None,
        ),
        job(
            "wide", "succeeded", program="日本語 " * 20, exit_code=0, instance_state=None, address=None, seconds=3900.0
        ),
        job("spot", "interrupted", attempt=3, program="[red]x[/red]\x1b[2J\u202e", created=None, launched=None),
    ]


def lines(width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = shown_on_terminal(width, lambda: show_jobs(jobs()))
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_it_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lines(width, monkeypatch)
    assert all(cell_len(line) <= width for line in shown), shown
    if width >= 80:
        # The longest name is not cut: it goes on in a second line.
        assert len(shown) == (6 if width == 80 else 5), shown


def test_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    head, first, *_ = lines(80, monkeypatch)
    assert head.split() == ["NAME", "RUNS", "STATE", "AGE", "TIME", "EXIT", "ON", "AWS"]
    assert first.split()[:2] == ["train-7k2m", "train.p…"]
    assert re.search(r" running +5m +4m05s +- +\$0\.0015$", first.rstrip()), first


def test_what_is_wider_shows_more(monkeypatch: pytest.MonkeyPatch) -> None:
    head, first, *_ = lines(160, monkeypatch)
    assert head.split()[-4:] == ["TYPE", "OFF", "IN", "ADDRESS"]
    assert first.split()[-4:] == ["i-0123456789abcdef0", "t3.small", "23m", "127.32.0.17"]


def test_a_pipe_has_it_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show_jobs(jobs())
    out = capsys.readouterr().out
    assert "a-name-that-is-as-long-as-it-may-be-x2345  " in out
    assert r"[red]x[/red]\x1b[2J\u202e" in out
    assert "i-0123456789abcdef0" in out


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0.31, "0.3s"), (42.4, "42s"), (59.9, "59s"), (60, "1m00s"), (245, "4m05s"), (3905, "1h05m")],
)
def test_times(seconds: float | None, shown: str) -> None:
    assert _spell_time(seconds) == shown


def test_a_state_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["ps", "--state", "runing"]) == 2
    assert "running" in capsys.readouterr().err


def test_the_list_imports_nothing_that_only_a_run_needs() -> None:
    code = (
        "import sys; import skylift.client.jobs.listing;"
        "print(sorted({'asyncio', 'asyncssh', 'cryptography', 'skylift.client.jobs.jobs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
