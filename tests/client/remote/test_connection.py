"""Live output through a real SSH connection: the supervisor's socket behind an SSH server of asyncssh's own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shlex
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import asyncssh
import pytest
from support.agent_bench import Machine, Metadata, until
from support.ports import quiet_port
from support.shipped_job import WAIT_FOR_GO, Shipped
from support.spot_counting import ship
from support.waiting_job import go
from support.whole_run import Seen

from skylift.client.errors import ConnectionLost, RunError, Unreachable
from skylift.client.job.outcome import Outcome
from skylift.client.job.record import JobKeys, bucket_name
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.key import LocalKeyPair, ensure_key_file
from skylift.client.remote.api import Api
from skylift.client.remote.connection import Connection
from skylift.client.remote.reconnect import Reconnect
from skylift.client.remote.ssh import connect
from skylift.client.watch.forward import Forward, Forwards
from skylift.client.watch.stream import Follower, Status
from skylift.contract.states import State
from skylift.python.watching import Recorder


class Sshd:
    """Takes one key; forwards to the machine's sockets or, told not to, runs the supervisor's `attach` as sshd does."""

    def __init__(self, machine: Machine, key: LocalKeyPair, *, forwards: bool = True) -> None:
        self.machine, self._key, self._forwards = machine, key, forwards
        self._host = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = self._host.export_public_key().decode().strip()
        self.connections: list[asyncssh.SSHServerConnection] = []

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        outer = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                outer.connections.append(conn)

            def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
                return True

            def unix_connection_requested(self, dest_path: str) -> Any:
                if not outer._forwards:
                    return False
                inner = outer.machine.root / dest_path.lstrip("/")

                async def forward(reader: Any, writer: Any) -> None:
                    await outer._join(inner, reader, writer)

                return forward

        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[self._host],
            authorized_client_keys=asyncssh.import_authorized_keys(self._key.public),
            process_factory=self._run,
            encoding=None,
        )
        async with acceptor:
            yield acceptor.get_port()

    async def _join(self, path: Path, reader: Any, writer: Any) -> None:
        source, sink = await asyncio.open_unix_connection(str(path))
        await asyncio.gather(_pump(reader, sink, sink.close), _pump(source, writer, writer.write_eof))
        writer.close()

    async def _run(self, process: Any) -> None:
        python, script, *rest = shlex.split(process.command)
        assert (python, script) == ("python3", "/var/lib/skylift/supervisor.pyz")
        child: Any = await asyncio.create_subprocess_exec(
            sys.executable,
            str(self.machine.root / "var/lib/skylift/supervisor.pyz"),
            f"--root={self.machine.root}",
            *rest,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        into = asyncio.ensure_future(_pump(process.stdin, child.stdin, child.stdin.close))
        try:
            await _pump(child.stdout, process.stdout, process.stdout.write_eof)
        finally:
            into.cancel()
            # With its pipes, also when the loop ends first: nobody could close them then.
            child._transport.close()
            await child.wait()
        process.exit(0)


async def _pump(take: Any, give: Any, end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await take.read(65536):
            give.write(data)
            await give.drain()
        end()


@pytest.fixture
def key(tmp_path: Path) -> LocalKeyPair:
    return ensure_key_file(tmp_path / "keys", "123456789012", "us-east-1")


@pytest.fixture
def second(api: Api, settings: Settings, endpoint: str, shipped: Shipped) -> Iterator[Shipped]:
    """The server that comes after the first."""
    with Metadata() as metadata:
        metadata.instance = "i-0fedcba9876543210"
        with Machine(endpoint, metadata) as machine:
            yield Shipped(api, settings, machine, shipped.folder)


def by_ssh(sshd: Sshd, key: LocalKeyPair, shipped: Shipped, port: int) -> Callable[[], Any]:
    return functools.partial(connect, "127.0.0.1", "me", key.private, [sshd.host_key], shipped.prefix.job, port)


def follower(
    api: Api,
    settings: Settings,
    shipped: Shipped,
    open_connection: Callable[[], Any],
    seen: Seen,
    told: list[Status],
    gone: Callable[[], bool] = lambda: False,
    revive: Callable[[], str | None] | None = None,
) -> Follower:
    bucket = bucket_name(str(settings.account), settings.region)
    reconnect = Reconnect(api, seen, revive)
    return Follower(api, bucket, shipped.prefix, open_connection, gone, reconnect, seen, told.append, lambda: None)


LINES = "import sys\nfor n in range(20000): sys.stdout.write(f'{n:09d}\\n')\nsys.stderr.write('end')\n"
EXPECTED = b"".join(b"%09d\n" % number for number in range(20000))


@pytest.mark.parametrize("forwards", [True, False])
def test_output_by_ssh(
    shipped: Shipped, machine: Machine, api: Api, settings: Settings, key: LocalKeyPair, forwards: bool
) -> None:
    shipped.ship(LINES + WAIT_FOR_GO)
    shipped.boot()
    shipped.door().close()
    seen, told = Seen(), []
    seen.on_output = shipped.go

    async def main() -> Status | None:
        sshd = Sshd(machine, key, forwards=forwards)
        async with sshd.serve() as port:
            follow = follower(api, settings, shipped, by_ssh(sshd, key, shipped, port), seen, told)
            status = await follow.run()
            assert len(sshd.connections) == 1
            return status

    status = asyncio.run(main())
    machine.wait()
    assert status is not None
    assert (status.state, seen.streams) == ("succeeded", {"stdout": EXPECTED, "stderr": b"end"})
    assert told[-1].final


def test_a_supervisor_that_knows_nothing_of_usage_is_not_waited_for(
    shipped: Shipped, machine: Machine, key: LocalKeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version's takes no notice of an order that it does not know."""
    monkeypatch.setattr("skylift.client.remote.ssh._ANSWERING", 0.3)
    shipped.ship("pass")
    place = machine.root / "run/skylift" / f"{shipped.prefix.job}.sock"
    place.parent.mkdir(parents=True, exist_ok=True)
    orders: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            orders.append(line)
        writer.close()

    async def main() -> None:
        sshd = Sshd(machine, key)
        async with await asyncio.start_unix_server(listen, str(place)), sshd.serve() as port:
            connection = await by_ssh(sshd, key, shipped, port)()
            try:
                with pytest.raises(ConnectionLost, match="started by an earlier skylift"):
                    await anext(connection.measure(2.0))
            finally:
                await connection.close()

    asyncio.run(main())
    assert b'"usage"' in orders[0]


def test_a_look_shows_what_has_not_come_to_s3_yet(
    shipped: Shipped, machine: Machine, api: Api, settings: Settings, key: LocalKeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped.ship("import os, time\nos.write(1, b'fresh\\n')\nwhile not os.path.exists('go'): time.sleep(0.02)\n")
    shipped.boot()
    watching = shipped.door()
    watching.send(stream={"stdout": 0, "stderr": 0})
    assert next(data for kind, data in watching.frames() if kind == "o") == b"fresh\n"
    watching.close()
    pages, seen = api.pages, Seen()
    monkeypatch.setattr(api, "pages", lambda *_, **__: [])
    monkeypatch.setattr("skylift.client.watch.stream._ONCE_TIMEOUT", 60.0)

    async def main() -> Status | None:
        sshd = Sshd(machine, key)
        async with sshd.serve() as port:
            reach = by_ssh(sshd, key, shipped, port)
            return await follower(api, settings, shipped, reach, seen, []).once(live=True)

    assert asyncio.run(main()) is None
    assert seen.streams["stdout"] == b"fresh\n"
    monkeypatch.setattr(api, "pages", pages)
    go(machine)
    machine.wait()


def test_output_from_s3_shows_that_the_program_runs_before_a_status_does(api: Api, settings: Settings) -> None:
    bucket, prefix = bucket_name(str(settings.account), settings.region), JobKeys("quick")
    ensure_bucket(api, bucket)
    api.put(bucket, f"{prefix.stream('stdout')}{0:020d}", b"up\n")
    events: list[str] = []

    class Heard(Seen):
        def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
            events.append(data.decode())

    async def no_ssh() -> Connection:
        raise ConnectionLost("There is no sshd.")

    async def main() -> Status | None:
        seen, told = Heard(), list[Status]()
        reconnect = Reconnect(api, seen, None)
        heard = functools.partial(events.append, "heard")
        follow = Follower(api, bucket, prefix, no_ssh, lambda: True, reconnect, seen, told.append, heard)
        return await follow.run()

    assert asyncio.run(main()) is None
    assert events == ["heard", "up\n"]


def test_a_port_leads_through_whichever_connection_there_is(machine: Machine, key: LocalKeyPair) -> None:
    """One that breaks takes what went through it along, without a word on the screen; the next one leads again."""
    troubles: list[Any] = []

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        server, sshd, here = await asyncio.start_server(flood, "127.0.0.1", 0), Sshd(machine, key), quiet_port()
        forwards = Forwards([Forward(here, server.sockets[0].getsockname()[1])])
        await forwards.open()
        async with sshd.serve() as port:
            for _ in range(3):
                connection = await connect("127.0.0.1", "me", key.private, [sshd.host_key], "x", port)
                forwards.connect_through(lambda: connection)  # noqa: B023
                reader, writer = await asyncio.open_connection("127.0.0.1", here)
                assert await reader.readexactly(1 << 20) == b"x" * (1 << 20)
                sshd.connections[-1].abort()
                while await reader.read(1 << 20):
                    continue
                writer.close()
                await connection.close()
            await forwards.close()
        server.close()

    asyncio.run(main())
    assert troubles == []


def test_connection_that_breaks_again_and_again_loses_and_repeats_nothing(
    shipped: Shipped, machine: Machine, api: Api, settings: Settings, key: LocalKeyPair
) -> None:
    shipped.ship(
        "import os, sys, time\n"
        "for n in range(20000):\n"
        "    sys.stdout.write(f'{n:09d}\\n')\n"
        "    if n % 2000 == 0:\n"
        "        deadline = time.monotonic() + 20\n"
        "        while not os.path.exists(f'go{n // 2000}') and time.monotonic() < deadline: time.sleep(0.005)\n"
    )
    shipped.boot()
    shipped.door().close()
    seen, told = Seen(), []
    breaks = 0

    async def main() -> Status | None:
        nonlocal breaks
        sshd = Sshd(machine, key)
        async with sshd.serve() as port:
            loop = asyncio.get_running_loop()

            def cut() -> None:
                nonlocal breaks
                while sshd.connections:
                    sshd.connections.pop().abort()
                (machine.home / "job" / f"go{breaks}").touch()
                breaks += 1

            seen.on_output = lambda: loop.call_soon_threadsafe(cut)
            follow = follower(api, settings, shipped, by_ssh(sshd, key, shipped, port), seen, told)
            return await follow.run()

    status = asyncio.run(main())
    machine.wait()
    assert status is not None
    assert seen.streams["stdout"] == EXPECTED
    assert breaks > 3


COUNTS = """
import os, sys, time
attempt = os.environ["SKYLIFT_ATTEMPT"]
print("first of", attempt, flush=True)
while attempt == "1" and not os.path.exists("go"): time.sleep(0.005)
for n in range(16):
    print("line", n, "of", attempt, flush=True)
    print("error", n, "of", attempt, flush=True, file=sys.stderr)
while attempt == "1": time.sleep(0.1)
"""


@pytest.mark.parametrize("onto", ["file", "pipe"])
def test_what_was_shown_of_a_server_that_is_lost_unannounced_is_kept_apart_from_the_log(
    shipped: Shipped,
    machine: Machine,
    second: Shipped,
    api: Api,
    settings: Settings,
    key: LocalKeyPair,
    tmp_path: Path,
    onto: str,
) -> None:
    """Its last lines have come by SSH, and not to S3."""
    ship(shipped, second, COUNTS)
    shipped.boot()
    until(lambda: shipped.stream("stdout"), "the first line to be in S3")
    lost = threading.Event()
    with (tmp_path / "out.csv").open("w+b") as out:

        class Shows(Seen):
            def __init__(self) -> None:
                super().__init__()
                self.watcher = Recorder(out if onto == "file" else None)

            def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
                super().output(stream, data)
                self.watcher.output(stream, data)
                # What comes at a time may end within a line.
                if b"first of 1" in self.streams["stdout"]:
                    shipped.go()
                if b"line 15 of 1" in self.streams["stdout"] and not lost.is_set():
                    machine.go_off()
                    lost.set()

            def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
                return self.watcher.take_back(stream, size)

        seen = Shows()

        async def main() -> Status | None:
            first, then = Sshd(machine, key), Sshd(second.machine, key)
            async with first.serve() as port, then.serve() as later:

                async def reach() -> Connection:
                    there = (then, second, later) if lost.is_set() else (first, shipped, port)
                    connection: Connection = await by_ssh(there[0], key, there[1], there[2])()
                    return connection

                async def replace() -> None:
                    await asyncio.to_thread(lost.wait, 60)
                    await asyncio.to_thread(second.boot)

                replacing = asyncio.ensure_future(replace())
                status = await follower(api, settings, shipped, reach, seen, []).run()
                await replacing
                return status

        status = asyncio.run(main())
        second.machine.wait()
        assert status is not None
        assert (status.state, status.attempt) == ("succeeded", 2)
        log = shipped.stream("stdout")
        assert b"line 15 of 2" in log
        if b"line 15 of 1" in log:
            return  # its server was quicker than the blow
        first_part, _, _ = log.partition(b"first of 2")
        shown = seen.streams["stdout"]
        assert shown.startswith(first_part)
        assert shown.endswith(log[len(first_part) :]), "the new attempt is shown from its first line on"
        assert shown.count(b"of 2") == log.count(b"of 2")
        assert any("were lost with the server before they came into the log" in each for each in seen.notes)
        assert seen.watcher.with_tails(Outcome("x", State.SUCCEEDED, 0, "")).stdout_tail == log.decode()
        if onto == "file":
            out.seek(0)
            assert out.read() == log


def test_server_with_another_host_key_is_not_spoken_to(machine: Machine, key: LocalKeyPair) -> None:
    async def main() -> None:
        sshd = Sshd(machine, key)
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        async with sshd.serve() as port:
            with pytest.raises(ConnectionLost, match=r"(?i)host key"):
                await connect("127.0.0.1", "me", key.private, [other], "x", port)

    asyncio.run(main())


def test_nobody_there(key: LocalKeyPair) -> None:
    host = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(ConnectionLost, match=r"refused|failed"):
        asyncio.run(connect("127.0.0.1", "me", key.private, [host], "x", 1))


async def no_ssh() -> Connection:
    raise ConnectionLost("no way")


def test_all_of_it_comes_from_s3_without_ssh(shipped: Shipped, machine: Machine, api: Api, settings: Settings) -> None:
    shipped.ship(LINES)
    shipped.boot()
    seen, told = Seen(), []
    status = asyncio.run(follower(api, settings, shipped, no_ssh, seen, told).run())
    machine.wait()
    assert status is not None
    assert seen.streams == {"stdout": EXPECTED, "stderr": b"end"}


def test_order_given_while_ssh_is_away_arrives_when_it_is_back(
    shipped: Shipped, machine: Machine, api: Api, settings: Settings, key: LocalKeyPair
) -> None:
    shipped.ship(
        "import time\ntry:\n    while True: time.sleep(0.1)\nexcept KeyboardInterrupt:\n    raise SystemExit(9)\n"
    )
    shipped.boot()
    shipped.door().close()
    seen, told = Seen(), []

    async def main() -> Status | None:
        sshd = Sshd(machine, key)
        async with sshd.serve() as port:
            tries = 0

            async def second_time_lucky() -> Connection:
                nonlocal tries
                tries += 1
                running = any(status.state == "running" for status in told)
                if tries < 2 or not running:
                    raise ConnectionLost("not yet")
                return await by_ssh(sshd, key, shipped, port)()

            follow = follower(api, settings, shipped, second_time_lucky, seen, told)
            assert follow.order(signal="INT") is False
            return await follow.run()

    status = asyncio.run(main())
    machine.wait()
    assert status is not None
    # An interpreter that is still starting ends by the signal itself.
    assert status.exit_code in {9, 130}


def test_cloud_that_is_away_is_told_revived_and_waited_for(
    shipped: Shipped, machine: Machine, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped.ship("print('done')")
    shipped.boot()
    machine.wait()
    seen, told = Seen(), []
    revived: list[int] = []
    get = api.get

    def away(bucket: str, key: str, most: int) -> bytes | None:
        if not revived:
            raise Unreachable("nobody answers")
        return get(bucket, key, most)

    monkeypatch.setattr(api, "get", away)

    def revive() -> None:
        revived.append(1)

    follow = follower(api, settings, shipped, no_ssh, seen, told, revive=revive)
    status = asyncio.run(follow.run())
    assert status is not None
    assert status.state == "succeeded"
    assert seen.streams["stdout"] == b"done\n"
    assert ["does not answer" in seen.notes[0], "answers again" in seen.notes[1]] == [True, True]
    assert revived == [1]


def test_cloud_that_goes_away_while_ssh_works_is_noticed(
    shipped: Shipped, machine: Machine, api: Api, settings: Settings, key: LocalKeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skylift.client.watch.stream._CHECK_PAUSE", 0.02)
    shipped.ship("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('went on')\n")
    shipped.boot()
    shipped.door().close()
    seen, told = Seen(), []

    def gone() -> bool:
        raise Unreachable("nobody answers")

    def revive() -> None:
        go(machine)
        raise RunError("No.", "Do it yourself.")

    async def main() -> Status | None:
        sshd = Sshd(machine, key)
        async with sshd.serve() as port:
            follow = follower(api, settings, shipped, by_ssh(sshd, key, shipped, port), seen, told, gone, revive)
            return await follow.run()

    status = asyncio.run(main())
    machine.wait()
    assert status is not None
    assert seen.streams["stdout"] == b"went on\n"
    assert "does not answer" in seen.notes[0]
    assert seen.notes[1] == "It could not be started again: No. Do it yourself."


def test_server_that_is_gone_without_a_word(shipped: Shipped, api: Api, settings: Settings) -> None:
    shipped.ship("pass")
    seen, told = Seen(), []
    assert asyncio.run(follower(api, settings, shipped, no_ssh, seen, told, gone=lambda: True).run()) is None
