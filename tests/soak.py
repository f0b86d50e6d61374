"""Kills the cloud again and again under a mixed load, and looks each time whether all that it promised is there.

    python tests/soak.py --kills 200            # about ten minutes; needs root
    python tests/soak.py --kills 50 --seed 7    # the same load again (not the same moments)

Each round: clients change things until SIGKILL ends the cloud in the middle; it is started again, now and then killed
during that too; then every acknowledged change has to be there, the one that each client had no answer to wholly or not
at all, servers have to run that nobody asked to stop, in the same boot, and nothing may be there that no row accounts
for. Ends with exit code 1 at the first thing that is wrong, and keeps the state directory then.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from botocore.config import Config
from support.ports import quiet_port
from support.real_cloud import RealCloud, real_cloud
from support.real_server import PATIENCE, until
from support.soak_api import Administrator, Networker, Storekeeper
from support.soak_options import options
from support.soak_orphans import Census
from support.soak_servers import LONG, Operator
from support.soak_volumes import Keeper
from support.soak_worker import Cut, Lost, Worker

# A client that asks again would hide what became of its first question.
ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60)
LONGEST_LOAD = 2.0
"""Seconds of load before a kill."""


@dataclass
class Score:
    kills: int = 0
    in_starts: int = 0
    """Of the kills, those that hit a cloud that was only starting."""
    acknowledged: int = 0
    happened: int = 0
    unanswered: int = 0
    slowest_start: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills ({self.in_starts} during a start), {self.acknowledged} changes acknowledged, "
            f"{self.unanswered} unanswered (of them {self.happened} done), slowest start {self.slowest_start:.1f} s"
        )


class Soak:
    """`cloud` is up, and nobody else uses it. One image takes as long as a dozen kills: `images` may be left out."""

    def __init__(self, cloud: RealCloud, seed: str, *, images: bool = True) -> None:
        self._cloud = cloud
        self._random = random.Random(seed)
        self.score = Score()
        self._port = quiet_port()
        cloud.down()
        self._process = self._start()
        client = cloud.client
        cloud.ec2 = client("ec2", config=ONCE)
        self._workers: list[Worker] = [
            Networker(seed, client("ec2", config=ONCE)),
            Administrator(seed, client("iam", config=ONCE), client("ssm", config=ONCE)),
            Storekeeper(seed, client("s3", config=ONCE)),
            Operator(seed, cloud, images=images),
            Keeper(seed, cloud),
        ]

    def run(self, kills: int, say: Callable[[str], None] = lambda _: None) -> Score:
        """Raises Lost."""
        with ThreadPoolExecutor(len(self._workers)) as self._pool, self._no_load_without_end():
            while self.score.kills < kills:
                self._round()
                say(str(self.score))
        self._end()
        return self.score

    @contextmanager
    def _no_load_without_end(self) -> Iterator[None]:
        """A soak that is interrupted waits for its workers, which go on as long as there is a cloud."""
        try:
            yield
        except BaseException:
            self._killed = True
            self._process.kill()
            self._process.wait()
            raise

    def _round(self) -> None:
        loads = [self._pool.submit(self._load, worker) for worker in self._workers]
        time.sleep(self._random.uniform(0.05, LONGEST_LOAD))
        self._kill()
        for load in loads:
            load.result()
        self.score.acknowledged = sum(worker.acknowledged for worker in self._workers)
        self.score.unanswered += sum(worker.maybe is not None for worker in self._workers)
        while self._random.random() < 0.25:
            self._process = self._begin()
            os.close(self._reading)
            time.sleep(self._random.uniform(0.0, 1.2))
            self._kill()
            self.score.in_starts += 1
        self._process = self._start()
        self._verify()
        self.score.happened = sum(worker.happened for worker in self._workers)
        self._look_for_orphans()

    def _verify(self) -> None:
        for looking in [self._pool.submit(worker.verify) for worker in self._workers]:
            looking.result()

    def _load(self, worker: Worker) -> None:
        while True:
            try:
                worker.act()
            except Cut as error:
                if not self._killed:
                    raise Lost(f"{type(worker).__name__} got no answer from a cloud that runs: {error}") from error
                return

    def _look_for_orphans(self) -> None:
        """What waits for nobody to look at it any more takes a moment to go, and what starts to be there."""
        last: list[str] = []

        def none_left() -> bool:
            last[:] = Census(self._cloud.home, self._cloud.number).complaints()
            return not last

        try:
            until(none_left, "orphans to go", LONG)
        except AssertionError:
            raise Lost("\n".join(last)) from None

    # The process, started as `cloud up` starts it, without the command line in between.

    def _begin(self) -> subprocess.Popen[bytes]:
        self._killed = False
        self._reading, writing = os.pipe()
        command = [sys.executable, "-m", "skylift.cloud.main", "--home", str(self._cloud.home.path)]
        command += ["--port", str(self._port)]
        with self._cloud.home.data.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--ready-fd", str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._cloud.environment,
                pass_fds=[writing],
                start_new_session=True,
            )
        os.close(writing)
        return process

    def _start(self) -> subprocess.Popen[bytes]:
        began = time.monotonic()
        process = self._begin()
        with os.fdopen(self._reading, "r") as pipe:
            if not select.select([pipe], [], [], 4 * PATIENCE)[0]:
                raise Lost("a start takes too long")
            answer = pipe.readline().strip()
        if answer != "ready":
            raise Lost(f"the cloud does not start: {answer}")
        self.score.slowest_start = max(self.score.slowest_start, time.monotonic() - began)
        self._cloud.number = int(self._cloud.endpoint.loopback.split(".")[1])
        return process

    def _kill(self) -> None:
        self._killed = True
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.score.kills += 1

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    with (
        options(arguments, "Kill the cloud again and again under load", "kills", 200) as chosen,
        real_cloud(chosen.images) as cloud,
    ):
        soak = Soak(cloud, chosen.seed)
        try:
            soak.run(chosen.times, lambda line: print(line, flush=True))
        except BaseException:
            kept = Path(f"/tmp/soak-{chosen.seed}")
            kept.mkdir(exist_ok=True)
            subprocess.run(["cp", "-r", cloud.home.data.database, cloud.home.data.log, kept], check=False)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
