"""How the process has its memory from the C library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import ctypes, os, sys, threading
from skylift.cloud.main import share_memory

if sys.argv[2] == "shared":
    share_memory()
everybody = threading.Barrier(8)

def work():
    kept = [bytes(4096) for _ in range(100)]
    everybody.wait()
    return kept

threads = [threading.Thread(target=work) for _ in range(8)]
for one in threads:
    one.start()
for one in threads:
    one.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(os.fsencode(sys.argv[1]), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def test_all_threads_have_their_memory_from_one_arena(tmp_path: Path) -> None:
    assert arenas(tmp_path / "own", "own") > 1
    assert arenas(tmp_path / "shared", "shared") == 1


def arenas(told: Path, how: str) -> int:
    subprocess.run([sys.executable, "-c", PROGRAM, str(told), how], check=True)
    return told.read_text().count("<heap nr=")


HOLES = """
from pathlib import Path
from skylift.cloud.main import return_memory, share_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

share_memory()
pieces = [bytes(4096) for _ in range(16384)]
last = pieces.pop()
pieces.clear()
before = resident()
return_memory()
print(before - resident())
"""


def test_what_is_free_before_something_that_is_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], check=True, capture_output=True, text=True)
    assert int(done.stdout) > 48 << 20
