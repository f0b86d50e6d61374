"""Every program that takes one of the kernel's tables, at once, beside a job that wants a little of each."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

import pytest
from support.greedy_programs import GREEDY, running, what_the_host_lacks
from support.real_cloud import RealCloud

pytestmark = [pytest.mark.real, pytest.mark.nightly]

ROUNDS = 30

# The result says what was done, in the order in which it was done; whatever fails ends it with another code.
INNOCENT = f"""\
# /// script
# ///
import ctypes, os, pathlib, socket, subprocess, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
out = pathlib.Path("out")
out.mkdir()
with (out / "done.txt").open("w") as done:
    for number in range({ROUNDS}):
        for descriptor in (*os.openpty(), libc.inotify_init1(0), *os.pipe()):
            assert descriptor >= 0, os.strerror(ctypes.get_errno())
            os.close(descriptor)
        name = f"/mine-{{number}}".encode()
        queue = libc.mq_open(name, 0o102, 0o600, None)
        assert queue >= 0 and libc.mq_unlink(name) == 0, os.strerror(ctypes.get_errno())
        os.close(queue)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
                client.sendall(bytes(1 << 14))
                client.close()
                assert len(b"".join(iter(lambda: server.recv(4096), b""))) == 1 << 14
        with tempfile.NamedTemporaryFile(dir=".") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
        assert subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout == "ec2-user\\n"
        done.write(f"{{number}}\\n")
        print("round", number, flush=True)
sys.exit(3)
"""


def test_a_job_beside_all_of_them_does_not_notice(own_cloud: RealCloud) -> None:
    cloud, folder = own_cloud, own_cloud.work / "innocent"
    folder.mkdir()
    (folder / "job.py").write_text(INNOCENT)
    greedy = cloud.launch(InstanceType="t3.micro"), cloud.launch(InstanceType="t3.micro")
    with ExitStack() as held:
        said = {
            (number, name): held.enter_context(running(server, name))
            for number, server in enumerate(greedy)
            for name in GREEDY
        }
        assert all(said.values()), said
        command = cloud.command("run", "--out", "out", "job.py")
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=cloud.environment)
        assert (done.returncode, done.stdout) == (3, "".join(f"round {number}\n" for number in range(ROUNDS))), done
        assert (folder / "out/done.txt").read_text() == "".join(f"{number}\n" for number in range(ROUNDS))
        assert what_the_host_lacks() == ""
    for server in greedy:
        assert server.says("echo still here") == "still here"
