"""The last lines of a run: one, then what went wrong, then money; and what is told to those who want quiet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.on_terminal import shown_on_terminal

from skylift.cli.run_summary import summary, troubles
from skylift.cli.say import say_folded
from skylift.cli.screen import Outlet
from skylift.cli.watching import show_outcome
from skylift.client.job.outcome import Missing, Outcome, Result
from skylift.client.job.server_record import Try
from skylift.client.job.settings import NewestImage, Settings
from skylift.client.price.run_price import with_price

NOW = 1767225600.0 - 600
"""Ten minutes before 2026."""

OUTCOME = Outcome("job-abcd", "succeeded", 0, "The program exited with 0.", seconds=1.234)


@pytest.mark.parametrize(
    ("outcome", "lines"),
    [
        (OUTCOME, ["✓ job-abcd: exit code 0 after 1.23 s"]),
        # Who came later has not seen all of it.
        (replace(OUTCOME, watched_seconds=99.0), ["✓ job-abcd: exit code 0 after 1.23 s"]),
        (
            replace(OUTCOME, watched_seconds=5.4, steps={"check": 0.1}),
            ["✓ job-abcd: exit code 0 after 1.23 s (5.40 s in all)"],
        ),
        (replace(OUTCOME, seconds=0.0, program_seconds=61.2), ["✓ job-abcd: exit code 0 after 1m 01s"]),
        (replace(OUTCOME, seconds=0.0), ["✓ job-abcd: exit code 0"]),
        (
            replace(OUTCOME, tries=(Try(1, 75, "", pause=1.0), Try(2, 1, "", pause=2.0), Try(3, 0, ""))),
            ["✓ job-abcd: exit code 0 after 3 attempts, 1.23 s"],
        ),
        (replace(OUTCOME, tries=(Try(1, 0, ""),)), ["✓ job-abcd: exit code 0 after 1.23 s"]),
        # Told once, and where one goes from there.
        (
            replace(OUTCOME, state="detached", exit_code=130, reason="Left running; nobody is watching it here."),
            ["■ Left running. `skylift attach job-abcd` watches it again, `skylift cancel job-abcd` ends it."],
        ),
        # What nobody else can have told.
        (
            replace(OUTCOME, state="failed", exit_code=127, reason="There is no command vim on the server."),
            ["✗ job-abcd: exit code 127 (failed) after 1.23 s", "There is no command vim on the server."],
        ),
        (
            replace(OUTCOME, state="failed", exit_code=3, reason="The program exited with 3.", program_seconds=0.1),
            ["✗ job-abcd: exit code 3 (failed) after 1.23 s"],
        ),
        (
            replace(OUTCOME, results=tuple(Result(f"{n}.txt", 1, "") for n in range(6))),
            ["✓ job-abcd: exit code 0 after 1.23 s; results: 0.txt, 1.txt, 2.txt, 3.txt and 2 more"],
        ),
        (
            replace(OUTCOME, results=tuple(Result(f"out/{n:05}.txt", 1, "") for n in range(5000))),
            ["✓ job-abcd: exit code 0 after 1.23 s; results: out/ (5000 files)"],
        ),
        (
            replace(OUTCOME, results=tuple(Result(path, 1, "") for path in ("a/b/1", "a/2", "c/3", *"defgh"))),
            ["✓ job-abcd: exit code 0 after 1.23 s; results: a/ (2 files), c/ (1 file), d, e and 3 more"],
        ),
        (
            replace(OUTCOME, results=tuple(Result(f"{n}/x", 1, "") for n in range(6))),
            [
                "✓ job-abcd: exit code 0 after 1.23 s; "
                "results: 0/ (1 file), 1/ (1 file), 2/ (1 file), 3/ (1 file) and 2 more"
            ],
        ),
        (
            replace(OUTCOME, state="failed", exit_code=137, signal="SIGKILL", reason="Ended by SIGKILL."),
            ["✗ job-abcd: exit code 137 (failed) after 1.23 s", "Ended by SIGKILL."],
        ),
        (
            replace(OUTCOME, unmatched=("*.csv",), left_behind=("a", "b"), kept_until="2026-01-01T00:00:00Z"),
            [
                "✓ job-abcd: exit code 0 after 1.23 s",
                "Nothing matched --out *.csv.",
                "New on the server, but not asked for with --out: a, b.",
                "The server stays 10 more minutes: `skylift ssh job-abcd`. `run --reuse job-abcd` empties and uses it.",
            ],
        ),
        (
            replace(
                OUTCOME, missing=tuple(Missing(f"{n}.txt", "Permission denied") for n in range(6)), changed=("a.log",)
            ),
            [
                "✓ job-abcd: exit code 0 after 1.23 s",
                "Results that did not come home: "
                + ", ".join(f"{n}.txt (Permission denied)" for n in range(5))
                + " and 1 more.",
                "Changed while they were read, so perhaps not whole: a.log.",
            ],
        ),
    ],
)
def test_summary(outcome: Outcome, lines: list[str]) -> None:
    assert summary(outcome, NOW) == lines


@pytest.mark.parametrize("given", ["-o", "--out", "--out=out.csv"])
def test_who_asks_for_results_behind_the_script_is_told_whom_he_has_asked(given: str) -> None:
    ended = replace(OUTCOME, left_behind=("out.csv",))
    told = "New on the server, but not asked for with --out: out.csv."
    assert summary(ended, NOW, ("--epochs", "3"))[1:] == [told]
    behind = f" What stands behind the script, like {given}, is the program's own."
    assert summary(ended, NOW, ("--epochs", given, "out.csv"))[1:] == [told + behind]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings("us-east-1", tmp_path, NewestImage("x", ()), caller_address=lambda: "203.0.113.7", billed=False)


def test_money_is_told_in_a_few_words_and_never_as_unknown(settings: Settings) -> None:
    ended = replace(
        OUTCOME, booted="2026-01-31T12:00:00.000Z", ended="2026-01-31T12:00:01.000Z", instance_type="t3.small"
    )
    *_, money = summary(with_price(ended, settings))
    assert money == "≈ $0.0003 on AWS (spot $0.0001)"
    for kind in ("x9.large", "p4d.24xlarge"):
        lines = summary(with_price(replace(ended, instance_type=kind), settings))
        assert not any("unknown" in line for line in lines)
        assert len(lines) <= 2


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (OUTCOME, ""),
        (replace(OUTCOME, left_behind=("a",), kept_until="2026-01-01T00:00:00Z"), ""),
        (replace(OUTCOME, state="failed", exit_code=3, program_seconds=0.1), ""),
        (replace(OUTCOME, state="detached", exit_code=130, reason="Left running."), ""),
        (
            replace(OUTCOME, state="failed", exit_code=127, reason="There is no command vim on the server."),
            "skylift: There is no command vim on the server.\n",
        ),
        (
            replace(
                OUTCOME, state="environment-failed", exit_code=123, reason="It cannot be made.", detail="no numpy\nx"
            ),
            "skylift: It cannot be made.\n         no numpy\n         x\n",
        ),
        (replace(OUTCOME, unmatched=("*.csv",)), "skylift: Nothing matched --out *.csv.\n"),
    ],
)
def test_who_wants_quiet_hears_of_failures_only(
    outcome: Outcome, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_outcome(outcome, Outlet(1, 2), quiet=True, as_json=False)
    assert capsys.readouterr() == ("", words)
    assert bool(troubles(outcome)) == bool(words)


def test_a_path_that_a_program_made_too_long_does_not_fill_the_terminal() -> None:
    deep = "/".join(["d"] * 6000)
    outcome = replace(OUTCOME, missing=(Missing(deep, "File name too long"),), left_behind=(deep,), changed=(deep,))
    assert max(map(len, summary(outcome))) < 300
    assert any(f"{deep[:100]}…{deep[-100:]} (File name too long)" in line for line in summary(outcome))


def test_lines_end_between_words_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """A command is copied: it is not divided. In a pipe nothing is."""
    line = "The server stays 29m 59s: `skylift ssh nightly-ab12`. `run --reuse nightly-ab12` uses it.\x1b[2J"
    assert shown_on_terminal(60, lambda: say_folded([line])).splitlines() == [
        "The server stays 29m 59s: `skylift ssh nightly-ab12`.",
        "`run --reuse nightly-ab12` uses it.\\x1b[2J",
    ]
    say_folded([line])
    assert capfd.readouterr().err.splitlines() == [line.replace("\x1b", "\\x1b")]
