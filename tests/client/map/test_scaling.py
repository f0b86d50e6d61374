"""How many servers a map has, against a group and workers of the test's own."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from skylift.agent.remote.aws import Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.agent.workers.worker_group import GroupMember, GroupState
from skylift.client.map.scaling import FAILURES, MOST, MapScaling
from skylift.client.map.server_times import ServerTimes
from skylift.contract.map_progress import ServerTime
from skylift.contract.map_spec import MapInput, MapSpec


class Servers:
    """The group: a server that is asked for is there at the next look."""

    def __init__(self) -> None:
        self.desired, self.there, self.dead = 0, dict[str, bool](), set[str]()
        self.deleted, self.reason, self.full = False, "", False
        self.kind = ""
        self._number = 0

    def look(self) -> GroupState | None:
        while len(self.there) < self.desired and not self.full:
            self._number += 1
            self.there[f"i-{self._number}"] = True
        return GroupState(self.desired, [GroupMember(each, each not in self.dead, self.kind) for each in self.there])

    def resize(self, desired: int) -> None:
        self.desired = desired

    def terminate(self, instance: str) -> None:
        self.desired -= self.there.pop(instance)

    def why_not(self) -> str:
        return self.reason

    def delete(self) -> None:
        self.deleted, self.there = True, {}


class Takers:
    address, slots_of_one, failed = "tls://10.0.0.1:8786", 2, False

    def __init__(self) -> None:
        self.busy: dict[str, bool] = {}
        self.paused: list[str] = []
        self.dropped: list[str] = []
        self.noticed: set[str] = set()
        self.begun = False

    def begin(self) -> None:
        self.begun = True

    def others(self) -> dict[str, bool]:
        return dict(self.busy)

    def leaving(self) -> set[str]:
        return set(self.noticed)

    def pause(self, instance: str) -> bool:
        self.paused.append(instance)
        return not self.busy.get(instance, False)

    def drop(self, instance: str) -> None:
        self.dropped.append(instance)
        self.busy.pop(instance, None)


class Work:
    def __init__(self, left: int, seconds: float = 1000.0) -> None:
        self.left, self.seconds = left, seconds

    def seconds_left(self) -> float:
        return self.seconds


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.away = False

    def put(self, key: str, body: bytes) -> bool:
        if self.away:
            raise Unreachable("it is away")
        self.objects[key] = json.loads(body)
        return True


class Case:
    def __init__(self, folder: Path, servers: int = 4) -> None:
        self.group, self.takers, self.bucket, self.said = Servers(), Takers(), Bucket(), list[str]()
        self.folder, self.servers = folder, servers

    def scaling(
        self, *, at_first: int = MOST, keeps: bool = False, before: tuple[ServerTime, ...] = (), by_work: bool = False
    ) -> MapScaling:
        inputs = (MapInput(0, "a", "a"),)
        spec = MapSpec(("python", "job.py"), True, (), inputs, servers=self.servers, by_work=by_work)
        key, known = {"ca": "CA", "cert": "C", "key": "K"}, self.folder / "known"
        prefix = cast(Prefix, self.bucket)
        say = self.said.append
        how: Any = {"at_first": at_first, "keeps": keeps, "before": before}
        return MapScaling(self.group, self.takers, prefix, spec, key, "keys/", known, say, **how)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def begun(case: Case) -> MapScaling:
    scaling = case.scaling()
    scaling.step(Work(0))
    return scaling


def test_there_are_as_many_as_the_inputs_can_use_and_no_more_than_allowed(case: Case) -> None:
    scaling = begun(case)
    scaling.step(Work(left=5))
    assert case.group.desired == 2, "with this one, three servers have six slots"
    scaling.step(Work(left=100))
    assert case.group.desired == 3


def test_short_work_is_worth_no_other_server(case: Case) -> None:
    scaling = begun(case)
    scaling.step(Work(left=100, seconds=3))
    assert (case.group.desired, case.takers.begun) == (0, False)
    scaling.step(Work(left=100))
    assert (case.group.desired, case.takers.begun) == (3, True)


def test_a_number_that_nobody_asked_for_is_no_larger_than_the_work_is_worth(tmp_path: Path) -> None:
    """A server is paid for a minute at least, so that each has a minute of work; the first one saves waiting."""
    case = Case(tmp_path, servers=500)
    scaling = case.scaling(by_work=True)
    scaling.step(Work(0))
    scaling.step(Work(left=998, seconds=9))
    assert case.group.desired == 0
    scaling.step(Work(left=998, seconds=15))
    assert case.group.desired == 1
    scaling.step(Work(left=998, seconds=499))
    assert case.group.desired == 8, "with this one, nine servers for nine minutes"
    case.takers.busy = {f"i-{number}": True for number in range(1, 9)}
    scaling.step(Work(left=900, seconds=45))
    assert case.group.desired == 8, "seven minutes of work for those that there are"
    scaling.step(Work(left=900, seconds=3600))
    assert case.group.desired == 449, "as many as the inputs can use"


def test_a_number_that_was_asked_for_comes_at_once(tmp_path: Path) -> None:
    case = Case(tmp_path, servers=500)
    scaling = begun(case)
    scaling.step(Work(left=998, seconds=15))
    assert case.group.desired == 498


def test_the_first_server_comes_alone_where_it_builds_what_the_others_take(case: Case) -> None:
    scaling, case.takers.address = case.scaling(at_first=1), ""
    for _ in range(3):
        scaling.step(Work(left=100))
    assert (case.group.desired, case.bucket.objects) == (1, {})
    case.takers.address = "tls://10.0.0.1:8786"
    scaling.step(Work(left=100))
    assert (case.group.desired, list(case.bucket.objects)) == (3, ["keys/i-1"])


def test_a_successor_that_finds_servers_takes_them(case: Case) -> None:
    scaling = begun(case)
    scaling.step(Work(left=100))
    case.takers.begun = False
    case.scaling().step(Work(left=1, seconds=0))
    assert case.takers.begun


def test_a_new_server_gets_its_key_once_also_from_a_successor(case: Case) -> None:
    scaling = begun(case)
    scaling.step(Work(left=4))
    scaling.step(Work(left=4))
    told = {"scheduler": "tls://10.0.0.1:8786", "slots": 0, "ca": "CA", "cert": "C", "key": "K"}
    assert case.bucket.objects == {"keys/i-1": told}
    case.bucket.objects.clear()
    case.scaling().step(Work(left=4))
    assert case.bucket.objects == {}, "programs run there, which could read it"
    assert list(case.group.there) == ["i-1"]


def test_a_key_that_could_not_be_written_is_written_later(case: Case) -> None:
    scaling = begun(case)
    scaling.step(Work(left=4))
    case.bucket.away = True
    with pytest.raises(Unreachable):
        scaling.step(Work(left=4))
    case.bucket.away = False
    scaling.step(Work(left=4))
    assert list(case.bucket.objects) == ["keys/i-1"]


def test_another_coordinators_servers_are_ended_first(case: Case) -> None:
    case.group.desired = 2
    scaling = case.scaling()
    for _ in range(2):
        scaling.step(Work(left=100))
    assert (case.group.desired, case.group.there, case.bucket.objects) == (0, {}, {})
    scaling.step(Work(left=100))
    assert case.group.desired == 3


def test_only_a_server_with_nothing_to_do_is_ended_and_that_very_one(case: Case) -> None:
    scaling = begun(case)
    for _ in range(2):
        scaling.step(Work(left=100))
    case.takers.busy = {"i-1": True, "i-2": False, "i-3": True}
    scaling.step(Work(left=2))
    assert case.takers.paused == ["i-2"]
    assert (list(case.group.there), case.group.desired) == (["i-1", "i-3"], 2)
    case.takers.busy = {"i-1": False, "i-3": False}
    scaling.step(Work(left=2))
    assert (case.group.there, case.group.desired) == ({}, 0)


def test_a_server_that_ec2_takes_back_is_ended_when_it_has_nothing_to_do(case: Case) -> None:
    scaling = begun(case)
    for _ in range(2):
        scaling.step(Work(left=6))
    case.takers.busy = {"i-1": True, "i-2": True}
    case.takers.noticed = {"i-1"}
    for _ in range(3):
        scaling.step(Work(left=6))
    assert (sorted(case.group.there), case.group.desired) == (["i-1", "i-2", "i-3"], 3), "its successor is there"
    assert case.said == ["EC2 takes i-1 back: it gets no other inputs."]
    case.takers.busy = {"i-1": False, "i-2": False, "i-3": True}
    for _ in range(2):
        scaling.step(Work(left=6))
    assert (sorted(case.group.there), case.group.desired) == (["i-2", "i-3"], 2), "that very one, and none for it"


def test_where_no_server_can_be_taken_none_is_had(case: Case) -> None:
    scaling = begun(case)
    case.takers.address = ""
    scaling.step(Work(left=100))
    assert case.group.desired == 3, "Dask is still being started"
    case.takers.failed = True
    for _ in range(2):
        scaling.step(Work(left=100))
    assert (case.group.desired, case.group.there, case.bucket.objects) == (0, {}, {})


def test_all_servers_may_be_taken_back_at_once(case: Case) -> None:
    scaling = begun(case)
    for _ in range(2):
        scaling.step(Work(left=100))
    case.takers.busy = dict.fromkeys(("i-1", "i-2", "i-3"), True)
    case.takers.noticed = {"i-1", "i-2", "i-3"}
    scaling.step(Work(left=100))
    assert case.group.desired == 3, "as many as are allowed"
    case.takers.busy = dict.fromkeys(case.takers.busy, False)
    scaling.step(Work(left=100))
    assert (case.group.there, case.group.desired) == ({}, 0)
    for _ in range(2):
        scaling.step(Work(left=100))
    assert sorted(case.group.there) == ["i-4", "i-5", "i-6"]


def test_servers_count_from_their_first_look_to_their_last() -> None:
    now = 100.0
    times = ServerTimes((ServerTime("t3.small", "spot", 2, 60.0),), lambda: now)
    small, large = GroupMember("i-1", True, "t3.small", "spot"), GroupMember("i-2", False, "t3.large", "on-demand")
    for members in ([small], [small, large], [large], [large], []):
        times.see(members)
        now += 10
    assert times.times == (ServerTime("t3.small", "spot", 3, 70.0), ServerTime("t3.large", "on-demand", 1, 20.0))


def test_a_coordinator_that_is_started_again_counts_no_server_twice(case: Case) -> None:
    case.group.kind = "t3.small"
    scaling = begun(case)
    for _ in range(2):
        scaling.step(Work(left=6))
    (before,) = scaling.times
    assert before.servers == 2
    again = case.scaling(before=scaling.times)
    again.step(Work(left=6))
    assert again.times == (before,)
    again.step(Work(left=100))
    again.step(Work(left=100))
    (after,) = again.times
    assert (after.servers, after.seconds > before.seconds) == (3, True)


def test_servers_that_come_while_no_coordinator_looks_count_once(case: Case) -> None:
    case.group.kind = "t3.small"
    scaling = begun(case)
    scaling.step(Work(left=100))
    again = case.scaling(before=scaling.times)
    for _ in range(2):
        again.step(Work(left=100))
    (after,) = again.times
    assert after.servers == 3


def test_another_servers_coordinator_counts_those_it_finds_as_the_one_before_did(case: Case) -> None:
    case.group.kind, case.group.desired = "t3.small", 2
    for counted, then in ((2, 2), (5, 5), (1, 2)):
        scaling = case.scaling(before=(ServerTime("t3.small", "on-demand", counted, 60.0),))
        case.group.desired = 2
        scaling.step(Work(left=100))
        (after,) = scaling.times
        assert (after.servers, after.seconds) == (then, 60.0)


def test_a_lost_server_has_a_successor_and_its_inputs_are_free_at_once(case: Case) -> None:
    scaling = begun(case)
    for _ in range(2):
        scaling.step(Work(left=4))
    case.takers.busy = {"i-1": True}
    scaling.step(Work(left=4))
    case.group.dead = {"i-1"}
    for _ in range(3):
        scaling.step(Work(left=4))
    assert case.takers.dropped == ["i-1"]
    assert list(case.group.there) == ["i-2"]
    assert case.said == []


def test_servers_that_end_before_they_take_anything_are_not_replaced_for_ever(case: Case) -> None:
    scaling = begun(case)
    for number in range(1, 20):
        case.group.dead.add(f"i-{number}")
        scaling.step(Work(left=4))
    (said,) = case.said
    assert f"{FAILURES} servers in a row have ended before they took inputs" in said
    assert len(case.group.there) == 0


def test_nor_while_another_server_works(case: Case) -> None:
    scaling = begun(case)
    for _ in range(2):
        scaling.step(Work(left=4))
    case.takers.busy = {"i-1": True}
    for number in range(2, 20):
        case.group.dead.add(f"i-{number}")
        scaling.step(Work(left=6))
    (said,) = case.said
    assert f"the last one was i-{FAILURES + 1}" in said
    assert list(case.group.there) == ["i-1"]


def test_a_server_that_comes_shows_that_servers_can(case: Case) -> None:
    scaling = begun(case)
    for number in range(1, 20):
        case.group.dead.add(f"i-{number}")
        # Every third one comes, and ends later on.
        case.takers.busy = {f"i-{number}": False} if number % 3 == 0 else {}
        scaling.step(Work(left=4))
    assert case.said == []


def test_a_server_that_has_ended_is_one_however_long_it_is_listed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = begun(case)
    for _ in range(2):
        scaling.step(Work(left=4))
    monkeypatch.setattr(case.group, "terminate", lambda instance: None)
    case.group.dead = {"i-1"}
    for _ in range(2 * FAILURES):
        scaling.step(Work(left=4))
    assert case.said == []


def test_too_few_servers_are_told_of_once_and_the_map_goes_on(case: Case) -> None:
    case.group.full, case.group.reason = True, "There is no room."
    scaling = begun(case)
    for _ in range(5):
        scaling.step(Work(left=100))
    assert case.said == ["There is 1 server, and not 4: There is no room."]
    scaling.step(Work(left=2))
    assert case.group.desired == 0, "what has not come need not come any more"


@pytest.mark.parametrize(("left", "keeps", "deleted"), [(100, False, True), (0, True, True), (100, True, False)])
def test_at_the_end_the_group_is_deleted(case: Case, left: int, *, keeps: bool, deleted: bool) -> None:
    """Unless a coordinator on another server goes on with it."""
    with case.scaling(keeps=keeps) as scaling:
        scaling.follow(Work(left=left))
    assert case.group.deleted == deleted


def test_a_map_that_has_ended_looks_at_no_server_any_more(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's own loop is closed by then: a look at its workers would end with an error that the user reads."""
    monkeypatch.setattr("skylift.client.map.scaling.LOOKING", 0.001)
    scaling, closed, looks = begun(case), threading.Event(), list[bool]()
    seen = threading.Event()

    def step(_: object) -> None:
        looks.append(closed.is_set())
        seen.set()

    monkeypatch.setattr(scaling, "step", step)
    with scaling:
        scaling.follow(Work(3))
        assert seen.wait(60)
        scaling.rest()
        closed.set()
    assert not any(looks)
    assert case.group.deleted
