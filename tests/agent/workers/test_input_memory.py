"""What the OOM killer did is told of the input that it struck, where several run on one server."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.agent.machine.memory import Memory
from skylift.agent.workers.input_memory import InputMemory
from skylift.contract.states import State

KILLED = -9


class Server:
    """A kernel's own files, with a count of kills that the test writes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "proc").mkdir()
        (root / "proc/meminfo").write_text("MemTotal:        2097152 kB\n")
        self.kill(3)
        self.memory = InputMemory(Memory(root, before=0))

    def kill(self, total: int) -> None:
        (self._root / "proc/vmstat").write_text(f"nr_free_pages 1\noom_kill {total}\n")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_an_input_that_ran_alone_has_all_that_were_killed(server: Server) -> None:
    with server.memory.begin() as share:
        server.kill(4)
        found = share.judge(KILLED)
        assert (found.state, found.exit_code) == (State.OUT_OF_MEMORY, 121)
        assert (
            found.reason == "The program was ended by the kernel: it needed more than the server's 2048 MiB of memory."
        )
    with server.memory.begin() as share:
        assert share.judge(KILLED).state is State.FAILED, "nothing was killed since"
        server.kill(6)
        assert "had ended 2 of its processes" in share.judge(1).reason


def test_of_several_one_is_told_of_each_kill(server: Server) -> None:
    with server.memory.begin() as first, server.memory.begin() as second, server.memory.begin() as third:
        server.kill(4)
        assert first.judge(1).reason == "The program exited with 1.", "another one was killed"
        found = second.judge(KILLED)
        assert found.state is State.OUT_OF_MEMORY
        assert "the inputs that ran at once needed more than the server's 2048 MiB" in found.reason
        assert third.judge(KILLED).reason == "The program was ended by SIGKILL."
        server.kill(5)
        assert third.judge(KILLED).state is State.OUT_OF_MEMORY


def test_a_kill_from_before_it_began_is_not_its_own(server: Server) -> None:
    with server.memory.begin():
        # A child of it, say: nobody is told to have ended by that.
        server.kill(4)
        with server.memory.begin() as later:
            assert later.judge(KILLED).state is State.FAILED
            server.kill(5)
            assert later.judge(KILLED).state is State.OUT_OF_MEMORY
