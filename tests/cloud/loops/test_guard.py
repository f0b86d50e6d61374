from __future__ import annotations

from functools import partial

import pytest

from skylift.cloud.loops.guard import guarded, named
from skylift.cloud.store.database import DiskFull


def fail(error: BaseException) -> int:
    raise error


def test_what_an_act_returns_is_returned(caplog: pytest.LogCaptureFixture) -> None:
    assert guarded("fleet f", lambda: 3) == 3
    assert not caplog.records


def test_a_failure_is_written_down_with_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    assert guarded("fleet f", partial(fail, KeyError("x"))) is None
    (record,) = caplog.records
    assert record.getMessage() == "fleet f: unexpected failure"
    assert record.exc_info is not None and record.exc_info[0] is KeyError


def test_a_full_disk_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert guarded("fleet f", partial(fail, DiskFull("there is no space left"))) is None
    (record,) = caplog.records
    assert (record.getMessage(), record.exc_info) == ("fleet f: there is no space left", None)


def test_what_ends_the_process_is_not_held_up() -> None:
    with pytest.raises(KeyboardInterrupt):
        guarded("fleet f", partial(fail, KeyboardInterrupt()))


def test_a_step_is_named_as_it_is_written() -> None:
    assert named(fail) == "fail"
    assert named(partial(fail, KeyError("x"))).startswith("functools.partial(<function fail")
