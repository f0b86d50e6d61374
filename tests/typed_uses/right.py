"""What a user may write; test_package.py has mypy look at it, strictly. It is not run."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import skylift

outcome = skylift.run("job.py", "--fast", "3", out=["report.csv"], env={"A": "b"}, max_time="2h", cpu=4, spot=True)
code: int = outcome.exit_code
skylift.run(Path("job.py"), Path("data.csv"), in_=Path("data.csv"), max_time=90, max_cost=1, checkpoint=Path("state"))
skylift.run(module="package.tool", args=["-x"], security_group=["sg-1"], subnet="subnet-1", forward=[8888, "80:8080"])
skylift.run(command=["make", "report"], env=["HOME", "A=b"], keep=None, on="aws")
job: skylift.Job = skylift.submit("job.py", "--fast", type="m7i.xlarge", name="nightly")


def cheap(script: str, **options: Unpack[skylift.RunOptions]) -> skylift.Outcome:
    return skylift.run(script, **options)


cheap("job.py", memory="16GiB")
always: skylift.RunOptions = {"on": "aws", "max_cost": 2.5}
skylift.run("job.py", **always)

for line in job.logs(follow=True):
    line.upper()
job.logs().close()
skylift.run("job.py", stdin=b"bytes")
skylift.submit("job.py", stdin=Path("data.csv"))
skylift.run("job.py", check=True, progress=lambda step, done, total: None)
skylift.run("job.py", progress=True).check().paths[0].read_text()


class Bar:
    """Like tqdm's."""

    def __init__(self, *, total: int, desc: str, unit: str, unit_scale: bool) -> None: ...
    def update(self, n: int = 1) -> bool | None: ...
    def close(self) -> None: ...


async def main() -> None:
    try:
        found = await skylift.aio.run("job.py", "--fast", out="a", progress=Bar, check=True)
    except skylift.JobFailed as error:
        found = error.outcome
    mine = await skylift.aio.submit("job.py", max_time="6h")
    async for line in mine.logs(follow=True):
        line.upper()
    print(found, await mine.state(), (await mine.wait()).exit_code)


with skylift.Cluster((0, 8), memory="16GiB", spot=True) as cluster:
    cluster.scale(4)
    cluster.dashboard_link.upper()
