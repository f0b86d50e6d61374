"""What jobs have used, read from the records of an account; and what is assumed where there are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.client.job.record import JobKeys
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.price.history import History, PastRun, basis_of, read_history
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api

NOW = 1_790_000_000.0
BOOTED, DAY_AFTER = "2026-09-20T10:00:00.500Z", "2026-09-21T10:00:00.000Z"
JOB = ["python", "job.py"]


@pytest.fixture
def account(settings: Settings, api: Api) -> Account:
    found = open_account(settings, api)
    ensure_bucket(api, found.bucket)
    return found


def had(account: Account, name: str, argv: list[str], type_: str = "t3.small", **status: Any) -> None:
    record = {"argv": argv, "instance_type": type_, "created": 0, "deadline": NOW}
    account.api.put(account.bucket, JobKeys(name).record, json.dumps(record).encode())
    if status:
        told = {"state": "succeeded", "final": True, **status}
        account.api.put(account.bucket, JobKeys(name).status, json.dumps(told).encode())


def test_runs_of_the_last_month(account: Account) -> None:
    had(account, "a", [*JOB, "--fast"], booted=BOOTED, ended="2026-09-20T10:30:00.500Z")
    had(account, "b", JOB, booted=DAY_AFTER, ended="2026-09-21T11:00:00.000Z")
    had(account, "other", ["python", "other.py"], booted=DAY_AFTER, ended="2026-09-21T10:00:01.000Z")
    had(account, "big", JOB, "m7i.large", booted=DAY_AFTER, ended="2026-09-21T10:02:00.000Z")
    had(account, "old", JOB, booted="2026-01-01T00:00:00.000Z", ended="2026-01-02T00:00:00.000Z")
    had(account, "running", JOB, booted=DAY_AFTER, state="running", final=False)
    had(account, "never", JOB)
    had(account, "written-off", JOB, state="broken", final=True)
    history = read_history(account, NOW)
    assert {each.job for each in history.runs} == {"a", "b", "other", "big"}
    assert history.runs[0].job == "a"
    assert [each.job for each in history.of(JOB) if each.instance_type == "t3.small"] == ["a", "b"]
    # As billed: half an hour, an hour, and the minute that one second is.
    assert history.hours("t3.small") == pytest.approx(1.5 + 1 / 60)
    basis = basis_of(history, JOB, "t3.small", 3600)
    assert (basis.runs, basis.seconds) == (2, 2700)
    assert basis.hours == history.hours("t3.small")
    assert basis.served == 1.5  # the other program ran in the hour that `b` had
    assert basis.text == "2 runs and 1 of other programs in the last 30 days on t3.small"


def test_a_damaged_record_is_named_and_the_others_count(account: Account) -> None:
    had(account, "good", JOB, booted=BOOTED, ended="2026-09-20T10:30:00.500Z")
    had(account, "bad", JOB)
    account.api.put(account.bucket, JobKeys("bad").status, b"[1,2]")
    history = read_history(account, NOW)
    assert [each.job for each in history.runs] == ["good"]
    assert history.damaged == ("jobs/bad/server/status.json is damaged: it is not an object.",)


def test_no_run_was_longer_than_it_might_have_been(account: Account) -> None:
    """A server that says otherwise would keep whoever asks for a price busy for years."""
    had(account, "long", JOB, booted=BOOTED, ended="9999-12-31T23:59:59.000Z", program_seconds=1e9)
    record = {"argv": JOB, "instance_type": "t3.small", "created": NOW - 7200, "deadline": NOW - 3600}
    account.api.put(account.bucket, JobKeys("long").record, json.dumps(record).encode())
    history = read_history(account, NOW)
    assert [each.seconds for each in history.runs] == [3600]
    assert history.served("t3.small") == 1


def test_nothing_to_go_by(account: Account) -> None:
    history = read_history(account, NOW)
    assert history.runs == ()
    for found in (history, None):
        basis = basis_of(found, JOB, "t3.small", 7200)
        assert (basis.seconds, basis.hours, basis.text) == (7200, 60, "assumed: one run a day")
    had(account, "other", ["make"], booted=DAY_AFTER, ended="2026-09-21T12:00:00.000Z")
    basis = basis_of(read_history(account, NOW), JOB, "t3.small", 3600)
    assert (basis.hours, basis.text) == (32, "assumed: one run of this program a day beside 2.00 h of others")


def test_an_account_in_which_nothing_ever_ran(settings: Settings, api: Api) -> None:
    assert read_history(open_account(settings, api)).runs == ()


def test_of_servers_side_by_side_a_commitment_serves_one() -> None:
    def runs(*times: tuple[float, float]) -> History:
        return History(tuple(PastRun("x", ("make",), "t3.small", start, seconds) for start, seconds in times))

    hour = 3600.0
    # Ten at once for an hour; half an hour each within the same hour; from one hour into the next.
    assert runs(*[(0.0, hour)] * 10).served("t3.small") == 1
    assert runs((0, hour / 2), (hour / 2, hour / 2)).served("t3.small") == 1
    assert runs((0, hour / 2), (0, hour / 2)).served("t3.small") == 1
    assert runs((hour / 2, hour), (hour, hour)).served("t3.small") == 1.5
    assert runs((0, 5 * hour), (hour, hour)).served("t3.small") == 5
    assert runs((0, 1)).served("t3.small") == 1 / 60
    assert runs((0, hour)).served("m7i.large") == 0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5)), max_size=8))
def test_one_commitment_serves_no_more_than_there_is(times: list[tuple[float, float]]) -> None:
    history = History(tuple(PastRun("x", ("make",), "t3.small", start, seconds) for start, seconds in times))
    served, hours = history.served("t3.small"), history.hours("t3.small")
    assert served <= hours + 1e-6
    spans = [end - start for start, end in [(start, start + max(seconds, 60)) for start, seconds in times]]
    assert not spans or served >= max(spans) / 3600 - 1e-6
