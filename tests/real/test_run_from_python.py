"""`import skylift` as a program has it, with real servers: check=True, awaited, and a task that is cancelled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.running_job import up

pytestmark = pytest.mark.real

PROGRAM = """
import asyncio, json, sys
import skylift
from skylift import aio

steps = set()
open("ok.py", "w").write("import sys\\nprint(sys.argv[1:])\\nopen('r', 'w').write('42')\\n")
open("bad.py", "w").write("open('left', 'w').write('it')\\nraise ValueError('of no use')\\n")
open("long.py", "w").write('''
import time
try:
    print("up", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    open("saved", "w").write("in time")
''')


class Up:
    def __init__(self):
        self.loop, self.told = asyncio.get_running_loop(), asyncio.Event()

    def write(self, data):
        self.loop.call_soon_threadsafe(self.told.set)

    def flush(self):
        pass


async def main():
    # In a running loop, as in a notebook's cell.
    outcome = skylift.run("ok.py", "-x", out="r", keep="5m", check=True, progress=lambda step, *_: steps.add(step))
    told = {"repr": repr(outcome), "html": outcome._repr_html_(), "out": outcome.stdout_tail, "r": open("r").read()}
    try:
        await aio.run("bad.py", out="left", keep="5m", check=True)
    except skylift.JobFailed as error:
        told |= {"error": str(error), "note": error.__notes__[0], "left": error.outcome.paths[0].read_text()}
    up = Up()
    task = asyncio.ensure_future(aio.run("long.py", out="saved", stdout=up))
    await up.told.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        told["saved"] = open("saved").read()
    return told | {"steps": sorted(steps)}


print(json.dumps(asyncio.run(main())))
"""


def test_a_program_that_runs_programs(cloud: RealCloud) -> None:
    folder: Path = cloud.work / "from_python"
    folder.mkdir()
    before = up(cloud)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env=cloud.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for name in sorted(up(cloud) - before):
        cloud.skylift("cancel", name, check=False)
    assert told["out"] == "['-x']\n"
    assert (told["r"], told["left"], told["saved"]) == ("42", "it", "in time")
    assert told["repr"].startswith("<Outcome ok-")
    assert ": succeeded, exit code 0 after " in told["repr"]
    assert "<td>r (2 B)</td>" in told["html"]
    assert ": failed, exit code 1. " in told["error"]
    assert told["note"].endswith("ValueError: of no use")
    assert {"check", "upload", "server", "program", "results"} <= set(told["steps"])
