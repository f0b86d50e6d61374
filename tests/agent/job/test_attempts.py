"""Attempts of a spot job: which server holds it, and what becomes of those that are silent, late or damaged."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kept_prefix import KeptPrefix
from support.agent_bench import until

from skylift.agent.job.attempts import Attempts, key_of
from skylift.agent.remote.aws import Refused, Unreachable


class Ec2:
    """Ends whatever it is asked to end, and remembers that."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self.ended: list[str] = []

    def instance(self) -> str:
        return self._ours

    def url(self, service: str) -> str:
        return "http://endpoint"

    def send(self, service: str, method: str, url: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.ended.append(body.decode().partition("InstanceId.1=")[2].partition("&")[0])
        return 200, {}, b"<currentState><name>terminated</name></currentState>"


BEGUN = {"bases": {"stdout": 0, "stderr": 0}, "beat": 3}


def claims(prefix: Any, ec2: Any, beat: float = 0.02) -> Attempts:
    return Attempts(prefix, ec2, time.time() + 60, beat)


def silent(prefix: KeptPrefix, number: int, **fields: Any) -> None:
    prefix.objects[key_of(number)] = json.dumps({"instance": f"i-{number}", "claimed": "then", **fields}).encode()


def test_of_five_that_died_silently_only_the_newest_is_waited_for() -> None:
    prefix, ec2 = KeptPrefix(), Ec2("i-6")
    for number in range(1, 6):
        silent(prefix, number, **BEGUN, ran=number)
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None
    assert (attempt.number, attempt.fields["ran"]) == (6, 5)
    assert ec2.ended == ["i-5"]


def test_one_that_was_claimed_and_never_begun_hides_nothing_of_those_before() -> None:
    prefix, ec2 = KeptPrefix(), Ec2("i-4")
    silent(prefix, 1, **BEGUN, begun="then", checkpoint={"key": "c"}, results=[{"path": "r"}], ran=7.0)
    silent(prefix, 2)
    silent(prefix, 3)
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None
    kept = {name: attempt.fields[name] for name in ("begun", "checkpoint", "results", "ran")}
    assert (attempt.number, kept) == (
        4,
        {"begun": "then", "checkpoint": {"key": "c"}, "results": [{"path": "r"}], "ran": 7.0},
    )


def test_whoever_has_passed_the_job_on_does_not_go_on_with_it() -> None:
    """Its supervisor was killed right after the word by which another server may begin, which may have happened."""
    prefix, ec2 = KeptPrefix(), Ec2("i-1")
    silent(prefix, 1, **BEGUN, over={"interrupted": "then"})
    before = dict(prefix.objects)
    assert claims(prefix, ec2).claim() is None
    assert prefix.objects == before


def test_a_claim_whose_answer_was_lost_is_ours() -> None:
    prefix, ec2 = KeptPrefix(), Ec2("i-2")
    silent(prefix, 1, **BEGUN, over={"interrupted": "then"})

    def lose_once(step: str, verb: str, key: str) -> None:
        if (step, verb, key) == ("done", "put", key_of(2)) and prefix.written.count(key) == 1:
            raise Unreachable("the answer was lost")

    prefix.fault = lose_once
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None
    assert (attempt.number, ec2.ended) == (2, [])


def test_a_holder_is_not_silent_while_s3_is_away() -> None:
    """It had no way to say anything. Once S3 is back, it has as long as ever."""
    prefix, ec2 = KeptPrefix(), Ec2("i-2")
    silent(prefix, 1, **BEGUN)
    seen: list[str] = []

    def away(step: str, verb: str, key: str) -> None:
        if (step, verb, key) == ("asked", "get", key_of(1)):
            seen.append(key)
            # The first one is the claim's; what follows takes more than three beats. Then the holder is heard of.
            if 1 < len(seen) < 7:
                raise Unreachable("HTTP 503")
            silent(prefix, 1, bases=BEGUN["bases"], beat=max(8, len(seen)))

    prefix.fault = away
    assert claims(prefix, ec2, beat=0.1).claim() is None
    assert ec2.ended == []


def test_the_last_word_is_said_again_until_it_has_come() -> None:
    prefix, ec2 = KeptPrefix(), Ec2("i-1")
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None

    def away(step: str, verb: str, key: str) -> None:
        raise Unreachable("HTTP 503")

    attempt.beat(0.01, dict)
    prefix.fault = away
    with pytest.raises(Unreachable):
        attempt.end(0.0, over={"final": {"state": "succeeded"}})
    prefix.fault = lambda *_: None
    until(lambda: b"succeeded" in prefix.objects[key_of(1)], "the last word")


def test_a_write_that_comes_late_does_not_go_over_a_later_word() -> None:
    """Its supervisor is dead, the next one has taken over and has told the end; then the network lets it through."""
    prefix, ec2 = KeptPrefix(), Ec2("i-1")
    dead = claims(prefix, ec2).claim()
    assert dead is not None
    late: list[Any] = []
    send = prefix.request

    def hold_back(*request: Any) -> Any:
        if request[0] == "PUT":
            late.append(request)
            raise Unreachable("no answer")
        return send(*request)

    prefix.request = hold_back  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        dead.note(0.0, ran=1.0)
    prefix.request = send  # type: ignore[method-assign]
    heir = claims(prefix, ec2).claim()
    assert heir is not None
    heir.end(0.0, over={"final": {"state": "succeeded"}})
    told = prefix.objects[key_of(1)]
    assert late
    for request in late:
        send(*request)
    assert prefix.objects[key_of(1)] == told


def test_a_dead_supervisors_last_word_that_comes_late_is_kept_to() -> None:
    """It let another server begin, after this one's next supervisor had looked: that must not run the job as well."""
    prefix, ec2 = KeptPrefix(), Ec2("i-1")
    silent(prefix, 1, **BEGUN)

    def come_late(step: str, verb: str, key: str) -> None:
        # The first one would claim it; then it is looked at, and taken up.
        if (step, verb, key) == ("asked", "put", key_of(1)) and ("get", key) in prefix.calls:
            silent(prefix, 1, **BEGUN, over={"interrupted": "then"})

    prefix.fault = come_late
    with pytest.raises(Refused, match="another server has taken attempt 1 over"):
        claims(prefix, ec2).claim()
    assert b"interrupted" in prefix.objects[key_of(1)]


def test_a_write_whose_answer_was_lost_is_known_the_next_time() -> None:
    prefix, ec2 = KeptPrefix(), Ec2("i-1")
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None

    def lose_once(step: str, verb: str, key: str) -> None:
        if step == "done" and verb == "put":
            prefix.fault = lambda *_: None
            raise Unreachable("the answer was lost")

    prefix.fault = lose_once
    attempt.end(time.time() + 60, over={"final": {"state": "succeeded"}})
    assert json.loads(prefix.objects[key_of(1)])["over"] == {"final": {"state": "succeeded"}}


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_write_over_ones_own_last_word_is_nobody_elses(lost: int) -> None:
    """The supervisor was killed behind its last word. The next one writes that again, and hears nothing of it."""
    prefix, ec2 = KeptPrefix(), Ec2("i-1")
    silent(prefix, 1, **BEGUN, over={"final": {"state": "succeeded"}}, tries=[{"exit_code": 1}], cut={"stdout": [1, 2]})
    left = [lost]

    def lose(step: str, verb: str, key: str) -> None:
        if (step, verb, key) == ("done", "put", key_of(1)) and left[0]:
            left[0] -= 1
            raise Unreachable("the answer was lost")

    prefix.fault = lose
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None
    assert (attempt.number, attempt.fields["over"], left) == (1, {"final": {"state": "succeeded"}}, [0])
    assert json.loads(prefix.objects[key_of(1)]) == attempt.fields
    assert ec2.ended == []


DAMAGED = [
    b"",
    b"no JSON",
    b"[" * 100_000,
    b"[]",
    b'{"claimed": "then"}',
    b'{"instance": 5}',
    b'{"instance": "i-1", "bases": {"stdout": "x", "stderr": 0}}',
    b'{"instance": "i-1", "bases": 5}',
    b'{"instance": "i-1", "over": 5}',
    b'{"instance": "i-1", "over": {"final": 5}}',
    b'{"instance": "i-1", "ran": "x"}',
    b'{"instance": "i-1", "results": [5]}',
    b'{"instance": "i-1", "results": [{"path": ["not", "a", "path"]}]}',
    b'{"instance": "i-1", "cut": {"stdout": [1]}}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_what_is_no_attempt_does_not_end_one_server_after_the_other(text: bytes) -> None:
    """A program may write there. Whose it was stands in the job's status, and is ended before another one begins."""
    prefix, ec2 = KeptPrefix(), Ec2("i-3")
    silent(prefix, 1, **BEGUN, ran=4.0, over={"interrupted": "then"})
    prefix.objects[key_of(2)] = text
    prefix.objects["server/status.json"] = b'{"instance": "i-2"}'
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None
    assert (attempt.number, attempt.fields["ran"], ec2.ended) == (3, 4.0, ["i-2"])


def test_a_holder_repairs_its_attempt() -> None:
    prefix, ec2 = KeptPrefix(), Ec2("i-1")
    attempt = claims(prefix, ec2).claim()
    assert attempt is not None
    attempt.beat(0.01, dict)
    prefix.objects[key_of(1)] = b"no JSON"
    until(lambda: b"i-1" in prefix.objects[key_of(1)], "the next beat")
    attempt.end(time.time() + 60)
