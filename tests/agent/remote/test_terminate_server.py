"""That another server is over is EC2's to say, and only what EC2 says counts."""

from __future__ import annotations

import time
import urllib.parse
from typing import Any

import pytest

from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.terminate_server import end_server

DENIED = Unreachable("POST ec2: HTTP 403 UnauthorizedOperation")
AWAY = Unreachable("POST ec2: HTTP 503 Unavailable")
ALLOWED = 412


class Ec2:
    """Answers one question after the other, and remembers them: whom they were about, and whether they were only to
    ask."""

    def __init__(self, *answers: str | int | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, bool]] = []

    def instance(self) -> str:
        return "i-ours"

    def url(self, service: str) -> str:
        return "http://endpoint"

    def send(self, service: str, method: str, url: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        form = dict(urllib.parse.parse_qsl(body.decode()))
        assert form["Action"] == "TerminateInstances"
        self.asked.append((form["InstanceId.1"], "DryRun" in form))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return answer, {}, b"<Code>DryRunOperation</Code>"
        before = "<previousState><name>terminated</name></previousState>" if answer != "terminated" else ""
        return 200, {}, f"<item>{before}<currentState><name>{answer}</name></currentState></item>".encode()


def end(ec2: Any) -> None:
    end_server(ec2, "i-other", time.time() + 60)


def test_it_is_over_once_it_is_terminated_and_not_while_it_shuts_down() -> None:
    ec2 = Ec2("shutting-down", AWAY, "shutting-down", "terminated")
    end(ec2)
    assert ec2.asked == [("i-other", False)] * 4


def test_one_that_ec2_does_not_know_is_over() -> None:
    end(Ec2(Refused(400, "<Code>InvalidInstanceID.NotFound</Code>")))


def test_a_denial_counts_only_from_an_ec2_that_would_let_us_end_ourselves() -> None:
    ec2 = Ec2(DENIED, DENIED, DENIED, ALLOWED, DENIED)
    end(ec2)
    assert ec2.asked == [("i-other", False), ("i-ours", True), ("i-other", False), ("i-ours", True), ("i-other", False)]


def test_a_denial_that_was_only_that_we_were_not_known_yet() -> None:
    ec2 = Ec2(DENIED, ALLOWED, "shutting-down", "terminated")
    end(ec2)
    assert ec2.asked[-1] == ("i-other", False)


def test_another_refusal_is_no_end() -> None:
    with pytest.raises(Refused):
        end(Ec2(Refused(400, "<Code>OperationNotPermitted</Code>")))


def test_what_cannot_be_known_in_time_is_no_end() -> None:
    with pytest.raises(Unreachable, match="has not ended"):
        end_server(Ec2("shutting-down"), "i-other", time.time())  # type: ignore[arg-type]
