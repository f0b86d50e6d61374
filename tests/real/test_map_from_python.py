"""`skylift.map` as a program has it: outcomes in order, their results and streams, and what is not a map."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real


PROGRAM = """
import asyncio, json, skylift

said = {"out": "*.txt", "into": "cubes/{name}", "halt": "50%", "name": "cubes"}
found = skylift.map("cube.py", range(6), "-v", "{}", ordered=True, **said)
told = [[each.index, each.input, each.state, [path.read_text() for path in each.paths]] for each in found]
async def retry():
    return [each async for each in skylift.aio.map(retry_failed="cubes", retries=1)]
again = asyncio.run(retry())
failed = again[-1]
try:
    halted = []
    for each in skylift.map("cube.py", range(4, 9), halt=1, per_server=1, batch=1):
        halted.append(each.index)
except skylift.JobFailed as error:
    halted.append(error.outcome.reason)
job = skylift.submit_map("cube.py", [1, 2])
code = job.wait().exit_code
errors = []
for call in (
    lambda: skylift.map("cube.py", ["cube.py", "gone"]),
    lambda: skylift.map("cube.py", [1], keep="5m"),
    lambda: skylift.map(resume=job.name),
    lambda: skylift.map(inputs=[3], resume="cubes"),
):
    try:
        call()
    except (skylift.UsageError, TypeError) as error:
        errors.append(str(error))
order = [each.index for each in again]
print(json.dumps([told, order, failed.attempt, failed.stderr.decode(), halted, errors, code, job.name]))
"""


def test_a_map_from_python(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "cube.py").write_text(
        "import sys\nnumber = int(sys.argv[-1])\nassert number != 4, 'not four'\n"
        "open(f'{number}.txt', 'w').write(str(number ** 3))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=cloud.environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    told, order, attempt, stderr, halted, errors, code, name = json.loads(done.stdout)
    expected = [[number, str(number), "succeeded", [str(number**3)]] for number in range(6)]
    expected[4][2:] = ["failed", []]
    assert told == expected
    # What the first map has an outcome for is told of at once, with its results; only what had failed ran again.
    assert (order, attempt, code) == ([0, 1, 2, 3, 5, 4], 2, 0)
    assert (tmp_path / "out/5/5.txt").read_text() == "125"
    assert stderr.endswith("AssertionError: not four\n")
    assert halted == [0, "It was ended early: 1 of 5 inputs have failed (--halt)."]
    assert errors == [
        "inputs: line 2 names no file: gone. Others do, like cube.py.",
        "skylift.map() got an unexpected keyword argument 'keep'",
        f"Nothing is left of {name}: all 2 inputs have succeeded.",
        "The inputs are those of cubes: name no others.",
    ]
