"""`skylift.map` as a program has it: outcomes in order, their results and streams, and what is no map."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from real_cloud import RealCloud

pytestmark = pytest.mark.real


PROGRAM = """
import json, skylift

found = skylift.map("cube.py", range(6), "-v", "{}", ordered=True, out="*.txt", into="cubes/{name}", halt="50%")
told = [[each.index, each.input, each.state, [path.read_text() for path in each.paths]] for each in found]
failed = next(each for each in skylift.map("cube.py", ["4"], retries=1, name="again"))
errors = []
for call in (lambda: skylift.map("cube.py", ["cube.py", "gone"]), lambda: skylift.map("cube.py", [1], keep="5m")):
    try:
        call()
    except (skylift.UsageError, TypeError) as error:
        errors.append(str(error))
job = skylift.submit_map("cube.py", [1, 2])
print(json.dumps([told, failed.attempt, failed.stderr.decode(), errors, job.wait().exit_code]))
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
    told, attempt, stderr, errors, code = json.loads(done.stdout)
    expected = [[number, str(number), "succeeded", [str(number**3)]] for number in range(6)]
    expected[4][2:] = ["failed", []]
    assert told == expected
    assert (attempt, code) == (2, 0)
    assert stderr.endswith("AssertionError: not four\n")
    assert errors == [
        "inputs: line 2 names no file: gone. Others do, like cube.py.",
        "skylift.map() got an unexpected keyword argument 'keep'",
    ]
