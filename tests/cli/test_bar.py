"""How the building of an image is shown to whoever waits for it."""

from __future__ import annotations

import pytest
from support.on_terminal import shown_on_terminal

from skylift.cli.bar import build_bar
from skylift.cloud.compute.image.image import BuildMeter

SAID = """\
Get:1 mirror trixie InRelease [140 kB]
Get:2 mirror trixie/main amd64 Packages [9,670 kB]
Need to get 3,500 kB of archives.
Get:1 mirror trixie/main amd64 libc6 amd64 2.41 [2,500 kB]
Get:2 mirror trixie/main amd64 tini amd64 0.19 [1,000 kB]
Unpacking libc6:amd64 (2.41) ...
Unpacking tini (0.19) ...
Setting up libc6:amd64 (2.41) ...
Setting up tini (0.19) ...
"""


def build() -> None:
    with build_bar() as progress:
        meter = BuildMeter(2, progress)
        for line in SAID.splitlines():
            meter.line(line)
        progress(0.92, "downloading uv")
        progress(1.0, "built")


def test_the_meter_says_what_is_left_to_fetch() -> None:
    told: list[tuple[float, str]] = []
    meter = BuildMeter(2, lambda fraction, text: told.append((fraction, text)))
    for line in SAID.splitlines():
        meter.line(line)
    assert [text for _, text in told] == [
        "reading package lists",
        "reading package lists",
        "reading package lists",
        "downloading packages, 3.5 MB to go",
        "downloading packages, 1.0 MB to go",
        "downloading packages, 0.0 MB to go",
        "unpacking 1 of 2 packages",
        "unpacking 2 of 2 packages",
        "setting up 1 of 2 packages",
        "setting up 2 of 2 packages",
    ]
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def test_a_pipe_has_a_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    build()
    lines = capsys.readouterr().err.splitlines()
    assert [" ".join(line.split()[1:2]) for line in lines[1:-1]] == [
        "reading",
        "downloading",
        "unpacking",
        "setting",
        "downloading",
    ]
    assert lines[0].startswith("Preparing the image of servers")
    assert lines[-1].startswith("Image ready in")


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = shown_on_terminal(100, build)
    assert "Preparing the image" in shown
    assert "Image ready in" in shown
