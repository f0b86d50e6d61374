"""What becomes of commands, with servers that are two threads and a queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from command_scene import Scene
from ec2_fixtures import Cloud

from skylift.cloud.compute.server.script import Closing, ServerOff, Unanswered, Unresponsive
from skylift.cloud.domain.command import Script, ScriptEnd
from skylift.cloud.loops.ssm.command import OF_SERVER, TRIES, CommandLoop, Rules
from skylift.cloud.services.ssm import document
from skylift.cloud.store.command import forget_commands


@dataclass
class Servers:
    """Scripts end as `ends` says, by their servers; a server that is not in it keeps its script until it is let go."""

    ends: dict[str, ScriptEnd | Exception] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    holding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let_go: threading.Event = field(default_factory=threading.Event)

    def run(self, server_id: str, script: Script) -> ScriptEnd:
        self.asked.append((server_id, script.text))
        if server_id not in self.ends:
            self.holding.release()
            self.let_go.wait()
        end = self.ends.get(server_id, Closing("closing"))
        if isinstance(end, Exception):
            raise end
        return end

    def cancel(self, server_id: str, key: str) -> None:
        self.cancelled.append(server_id)
        self.ends[server_id] = ScriptEnd("cancelled", 137, "", "")
        self.let_go.set()

    def close(self) -> None:
        self.let_go.set()


GOOD = ScriptEnd("exited", 0, "out", "err")


class Looped(Scene):
    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.machines = Servers()
        self.woken: list[float] = []
        self.loop = self.new_loop()

    def new_loop(self) -> CommandLoop:
        rules = Rules(lambda command, server: document.script_of(command, server, "us-east-1"), document.allowance)
        return CommandLoop(self.cloud.database, self.machines, rules, lambda: None, self.woken.append)

    def settle(self) -> None:
        """As the engine does it: again as long as something changes."""
        for _ in range(4):
            self.loop.step()
            self.loop.wait_until_idle()


@pytest.fixture
def scene(cloud: Cloud) -> Iterator[Looped]:
    made = Looped(cloud)
    yield made
    made.loop.close()


def test_a_command_runs(scene: Looped) -> None:
    server = scene.server()
    scene.machines.ends[server] = GOOD
    command = scene.send(server, commands=["echo a", "echo b"])
    scene.settle()
    told = scene.invocation(command, server)
    assert (told["Status"], told["ResponseCode"], told["StandardOutputContent"]) == ("Success", 0, "out")
    assert told["ExecutionElapsedTime"] == "PT0S"
    assert scene.machines.asked == [(server, "echo a\necho b\n")]
    assert scene.command(command)["CompletedCount"] == 1


@pytest.mark.parametrize(
    ("end", "status", "details", "code"),
    [
        (ScriptEnd("exited", 3, "", ""), "Failed", "Failed", 3),
        (ScriptEnd("timed-out", 137, "", ""), "TimedOut", "ExecutionTimedOut", 137),
        (ScriptEnd("lost", -1, "", ""), "Failed", "Failed", -1),
        (ScriptEnd("exited", 168, "", "gone"), "Success", "Success", 168),
        (Unanswered("garbage"), "Failed", "Failed", -1),
    ],
)
def test_how_scripts_end(scene: Looped, end: ScriptEnd | Exception, status: str, details: str, code: int) -> None:
    server = scene.server()
    scene.machines.ends[server] = end
    command = scene.send(server)
    scene.settle()
    told = scene.invocation(command, server)
    assert (told["Status"], told["StatusDetails"], told["ResponseCode"]) == (status, details, code)
    assert scene.command(command)["Status"] == status


def test_times_are_told_to_the_millisecond(scene: Looped) -> None:
    """As in awscli/examples/ssm/get-command-invocation.rst of aws/aws-cli ("PT0.541S")."""
    server = scene.server()
    command = scene.send(server)
    scene.loop.step()
    scene.machines.holding.acquire()
    scene.cloud.clock.forward(seconds=1.2345678)
    scene.machines.ends[server] = GOOD
    scene.machines.let_go.set()
    scene.settle()
    told = scene.invocation(command, server)
    assert told["ExecutionStartDateTime"] == "2026-11-25T12:00:00.000Z"
    assert told["ExecutionEndDateTime"] == "2026-11-25T12:00:01.234Z"
    assert told["ExecutionElapsedTime"] == "PT1.235S"


def test_long_output_is_cut_as_the_agent_cuts_it(scene: Looped) -> None:
    """StringPrefix in agent/plugins/pluginutil/pluginutil.go: what is as long as can be is cut, too."""
    server = scene.server()
    scene.machines.ends[server] = ScriptEnd("exited", 0, "o" * 24_000, "e" * 24_000)
    command = scene.send(server)
    scene.settle()
    told = scene.invocation(command, server)
    assert told["StandardOutputContent"] == "o" * 23_980 + "--output truncated--"
    assert told["StandardErrorContent"] == "e" * 8_000


def test_a_command_waits_for_its_server(scene: Looped) -> None:
    server = scene.server(state="stopped")
    scene.machines.ends[server] = GOOD
    command = scene.send(server, TimeoutSeconds=600)
    scene.settle()
    assert scene.invocation(command, server)["Status"] == "Pending"
    assert scene.woken[-1] == pytest.approx(4200.05)
    scene.cloud.observe(server, "running")
    scene.settle()
    assert scene.invocation(command, server)["Status"] == "Success"


def test_one_that_waits_too_long_is_given_up(scene: Looped) -> None:
    server = scene.server(state="stopped")
    command = scene.send(server, TimeoutSeconds=30, Parameters={"executionTimeout": ["60"]})
    scene.cloud.clock.forward(seconds=90)
    scene.settle()
    told = scene.command(command)
    assert (told["Status"], told["StatusDetails"], told["DeliveryTimedOutCount"]) == ("TimedOut", "DeliveryTimedOut", 1)


def test_a_server_that_is_gone_cannot_be_reached(scene: Looped) -> None:
    server = scene.server()
    command = scene.send(server)
    scene.cloud.observe(server, "terminated")
    scene.settle()
    assert scene.invocation(command, server)["StatusDetails"] == "Undeliverable"


def test_a_server_that_goes_off_meanwhile_is_asked_again(scene: Looped) -> None:
    server = scene.server()
    scene.machines.ends[server] = ServerOff("off")
    command = scene.send(server)
    scene.settle()
    assert scene.invocation(command, server)["Status"] == "InProgress"
    scene.machines.ends[server] = ScriptEnd("lost", -1, "before", "")
    scene.settle()
    assert scene.invocation(command, server)["Status"] == "Failed"


def test_a_server_that_is_held_for_a_moment_is_asked_again(scene: Looped) -> None:
    """A snapshot of its disk holds it: the runtime begins no program in it then."""
    server = scene.server()
    scene.machines.ends[server] = Unresponsive("nothing")
    command = scene.send(server)
    scene.settle()
    assert scene.invocation(command, server)["Status"] == "InProgress"
    scene.machines.ends[server] = GOOD
    scene.settle()
    assert scene.invocation(command, server)["Status"] == "Success"


def test_one_that_never_says_anything_has_failed(scene: Looped) -> None:
    server = scene.server()
    scene.machines.ends[server] = Unresponsive("nothing was said")
    command = scene.send(server)
    for _ in range(TRIES):
        scene.settle()
    told = scene.invocation(command, server)
    assert (told["Status"], told["StandardErrorContent"]) == ("Failed", "nothing was said")
    assert len(scene.machines.asked) == TRIES


def test_no_more_at_once_than_was_asked_for(scene: Looped) -> None:
    servers = [scene.server() for _ in range(4)]
    command = scene.send(*servers, MaxConcurrency="50%")
    scene.loop.step()
    scene.loop.step()
    listed = scene.ssm("ListCommandInvocations", CommandId=command)["CommandInvocations"]
    assert [each["Status"] for each in listed] == ["InProgress", "InProgress", "Pending", "Pending"]


def test_after_too_many_errors_no_other_begins(scene: Looped) -> None:
    """ "Terminated: The parent command exceeded its MaxErrors limit": API_CommandInvocation, StatusDetails."""
    servers = [scene.server() for _ in range(4)]
    scene.machines.ends = dict.fromkeys(servers, ScriptEnd("exited", 1, "", ""))
    command = scene.send(*servers, MaxConcurrency="1", MaxErrors="1")
    scene.settle()
    details = [scene.invocation(command, server)["StatusDetails"] for server in servers]
    assert details == ["Failed", "Failed", "Terminated", "Terminated"]
    told = scene.command(command)
    assert (told["Status"], told["ErrorCount"]) == ("Failed", 2)


def test_a_few_errors_leave_a_command_incomplete(scene: Looped) -> None:
    good, bad = scene.server(), scene.server()
    scene.machines.ends = {good: GOOD, bad: ScriptEnd("exited", 1, "", "")}
    command = scene.send(good, bad, MaxErrors="1")
    scene.settle()
    assert scene.command(command)["StatusDetails"] == "Incomplete"


def test_cancelling_what_runs(scene: Looped) -> None:
    server = scene.server()
    command = scene.send(server)
    scene.loop.step()
    scene.machines.holding.acquire()
    scene.ssm("CancelCommand", CommandId=command)
    assert scene.invocation(command, server)["Status"] == "Cancelling"
    scene.settle()
    assert scene.machines.cancelled == [server]
    told = scene.invocation(command, server)
    assert (told["Status"], told["ResponseCode"]) == ("Cancelled", 137)
    scene.ssm("CancelCommand", CommandId=command)
    assert scene.invocation(command, server)["Status"] == "Cancelled"


def test_a_cloud_that_was_restarted_asks_for_what_runs(scene: Looped) -> None:
    server = scene.server()
    command = scene.send(server)
    scene.loop.step()
    scene.machines.holding.acquire()
    scene.loop.close()
    assert scene.invocation(command, server)["Status"] == "InProgress"
    scene.machines.ends[server] = GOOD
    scene.loop = scene.new_loop()
    scene.settle()
    assert scene.invocation(command, server)["Status"] == "Success"


def test_commands_are_forgotten_after_thirty_days(scene: Looped) -> None:
    server = scene.server()
    scene.machines.ends[server] = GOOD
    scene.send(server)
    scene.cloud.clock.forward(days=31)
    recent = scene.send(server)
    with scene.cloud.database.write() as tx:
        forget_commands(tx)
    assert [each["CommandId"] for each in scene.ssm("ListCommands")["Commands"]] == [recent]


def test_long_commands_on_one_server_keep_no_other_waiting(scene: Looped) -> None:
    """And of one server it runs as many at once as the agent does on AWS, in the order in which they came."""
    busy, other = scene.server(), scene.server()
    long = [scene.send(busy, commands=[f"long {number}"]) for number in range(70)]
    scene.loop.step()
    for _ in range(OF_SERVER):
        scene.machines.holding.acquire()
    assert [scene.invocation(each, busy)["Status"] for each in long] == ["InProgress"] * 5 + ["Pending"] * 65
    scene.machines.ends[other] = GOOD
    short = scene.send(other)
    scene.loop.step()
    deadline = threading.Event()
    while scene.invocation(short, other)["Status"] != "Success":
        assert not deadline.wait(0.01)
    assert sorted(text for server, text in scene.machines.asked if server == busy) == [
        f"long {number}\n" for number in range(5)
    ]
    scene.machines.ends[busy] = GOOD
    scene.machines.let_go.set()
    for _ in long:
        scene.settle()
    assert {scene.invocation(each, busy)["Status"] for each in long} == {"Success"}
