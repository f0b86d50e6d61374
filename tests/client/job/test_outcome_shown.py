"""An outcome in one line, as a small table, and as an error; what others have put into it is text."""

from __future__ import annotations

import html
import pickle
from dataclasses import replace

import pytest

from skylift.client.job.outcome import JobFailed, Missing, Outcome, Result
from skylift.contract.states import State

FINE = Outcome("nightly", State.SUCCEEDED, 0, "The program ended.", seconds=12.3)
HOSTILE = Outcome(
    'x"><script>alert(1)</script>\n\x1b[2J',
    State.FAILED,
    3,
    "<img src=x onerror=alert(1)>\nmore & \u202emore",
    instance="<i>",
    instance_type="<t>",
    market="<m>",
    results=tuple(Result(f"<b>{number}\n\udcff", 2048, "0" * 64) for number in range(12)),
    missing=(Missing("<a href='x'>", "<s>"),),
    unmatched=("<u>*",),
    stderr_tail="".join(f"line {number}\n" for number in range(30)) + "\x1b[2Jlast",
)


def test_one_line() -> None:
    assert repr(FINE) == "<Outcome nightly: succeeded, exit code 0 after 12.3 s; 0 results>"
    told = replace(FINE, state=State.TIMED_OUT, exit_code=124, results=HOSTILE.results[:1])
    assert repr(told) == "<Outcome nightly: timed-out, exit code 124 after 12.3 s; 1 result>"
    shown = repr(HOSTILE)
    assert shown.isprintable()
    assert shown.endswith("failed, exit code 3; 12 results, 1 missing>")


def test_a_table() -> None:
    assert FINE._repr_html_() == (
        "<table><caption>nightly</caption><tr><th>ended</th><td>succeeded, exit code 0 after 12.3 s</td></tr></table>"
    )
    shown = HOSTILE._repr_html_()
    tags = {"<table>", "<caption>", "<tr>", "<th>", "<td>", "<br>"}
    for tag in tags | {tag.replace("<", "</") for tag in tags}:
        shown = shown.replace(tag, "")
    assert "<" not in shown
    assert ">" not in shown
    assert "'" not in shown
    assert '"' not in shown
    text = html.unescape(shown)
    assert text.isprintable()
    assert "<b>0\\n\\udcff (2.0 KiB)" in text
    assert "and 2 more" in text
    assert "<b>10" not in text


def test_what_to_do_is_shown_in_a_notebook_and_under_a_traceback() -> None:
    told = replace(HOSTILE, detail="The server has no module x.\n<b>\x1b[2J\n" + "more\n" * 20)
    assert "<th>details</th><td>The server has no module x.<br>&lt;b&gt;\\x1b[2J<br>more" in told._repr_html_()
    assert "<br>and 12 more</td>" in told._repr_html_()
    note = JobFailed(told).__notes__[-1].split("\n")
    assert (note[:3], note[-1]) == (["The server has no module x.", "<b>\\x1b[2J", "more"], "and 12 more")
    alone = JobFailed(replace(told, stderr_tail="", detail="No solution.\n"))
    assert alone.__notes__ == ["No solution."]


def test_a_check() -> None:
    assert FINE.check() is FINE
    with pytest.raises(JobFailed) as caught:
        HOSTILE.check()
    error = caught.value
    assert (error.outcome, error.exit_code) == (HOSTILE, 3)
    assert str(error).isprintable()
    assert "failed, exit code 3. <img" in str(error)
    note = error.__notes__[0].splitlines()
    assert (note[0], note[1], note[-1], len(note)) == ("standard error ends with:", "line 21", "\\x1b[2Jlast", 11)


def test_an_error_comes_home_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(JobFailed(HOSTILE)))
    assert (type(error), error.outcome, str(error)) == (JobFailed, HOSTILE, str(JobFailed(HOSTILE)))
