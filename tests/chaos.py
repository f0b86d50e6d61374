"""Kills whatever a job consists of at random moments, and looks each time what has become of it.

    python tests/chaos.py --rounds 100            # about a quarter of an hour; needs root
    python tests/chaos.py --rounds 20 --seed 7    # the same blows at the same times (not at the same steps of the job)

Each round is a job of a few seconds that is struck up to three times: its client, its supervisor, the keeper of that,
or its sshd is killed, the cloud is killed and started again, or the server is rebooted. Then somebody attends the job
to its end. It has to come to it with the right exit code, every line of its output and its result, or to an end that
has a name and that the blows explain; its program was started at most once, and its server is gone. Ends with exit code
1 at the first thing that is wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from support.real_cloud import RealCloud, real_cloud
from support.real_server import until
from support.soak_options import options

# A second copy would say so.
JOB = """
import os, sys, time
with open("starts", "a") as file:
    print("started", file=file)
until, n = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until:
    os.write(1, b"%09d\\n" % n)
    n += 1
    time.sleep(0.002)
with open("result", "w") as file:
    file.write(str(n))
sys.exit(7)
"""
LONGEST = 4.0
"""Seconds in which a job is struck, after its client was started or its server was; its program runs for three."""
LONG = 180.0
"""Seconds that a client may take to see the end, and a server to go: a loaded machine is slow, not wrong."""
BLOWS = ("client", "supervisor", "keeper", "sshd", "cloud", "reboot")
WEIGHTS = (3, 4, 1, 2, 2, 1)


class Wrong(Exception):
    """What must not be."""


@dataclass
class Round:
    """One job, and what was done to it. A blow that hit nothing is not among them."""

    name: str
    folder: Path
    struck: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.struck) or 'left alone'})"


class Chaos:
    """`cloud` is up, and nobody else uses it."""

    def __init__(self, cloud: RealCloud, seed: str) -> None:
        self._cloud = cloud
        self._random = random.Random(seed)
        self._count = 0
        self.ends: Counter[str] = Counter()
        """Of the jobs, by state."""
        self.blows: Counter[str] = Counter()

    def run(self, rounds: int, say: Callable[[str], None] = lambda _: None) -> None:
        """Raises Wrong."""
        for _ in range(rounds):
            each = self._round()
            say(f"{each}: {self._judge(each)}")

    def _round(self) -> Round:
        self._count += 1
        each = Round(f"chaos-{self._count}", self._cloud.work / f"chaos-{self._count}")
        each.folder.mkdir()
        (each.folder / "job.py").write_text(JOB)
        blows = self._random.choices(BLOWS, WEIGHTS, k=self._random.randint(1, 3))
        times = sorted(self._random.uniform(0.0, LONGEST) for _ in blows)
        # The options end where the script begins.
        options = ("--name", each.name, "--max-time", "5m", "--out", "starts", "--out", "result")
        client = self._client(each, "run", *options, "job.py", "3")
        if self._random.random() < 0.75:
            until(lambda: self._inits() or client.poll() is not None, "a server", LONG)
        began = time.monotonic()
        for blow, moment in zip(blows, times, strict=True):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            if self._hit(blow, client, each):
                each.struck.append(f"{blow} at {moment:.1f} s")
                self.blows[blow] += 1
        self._attend(each, client)
        return each

    def _client(self, each: Round, *arguments: str) -> subprocess.Popen[bytes]:
        with (each.folder / "words").open("ab") as words, (each.folder / "shown").open("wb") as shown:
            return self._cloud.popen(*arguments, cwd=each.folder, stdout=shown, stderr=words)

    # Blows. Each says whether it hit something.

    def _hit(self, blow: str, client: subprocess.Popen[bytes], each: Round) -> bool:
        """On a loaded machine there may be nothing to strike yet. Without its client a job may have ended."""
        facts = partial(self._facts, each)
        tried = until(lambda: self._try(blow, client), f"a {blow} of {each} to strike", LONG, facts)
        return tried == "hit"

    def _try(self, blow: str, client: subprocess.Popen[bytes]) -> str:
        ended = client.poll() is not None
        return "hit" if self._strike(blow, client) else "ended" * ended

    def _strike(self, blow: str, client: subprocess.Popen[bytes]) -> bool:
        if blow == "client":
            client.kill()
            return client.wait() == -signal.SIGKILL
        if blow == "cloud":
            self._cloud.kill()
            self._cloud.up()
            return True
        if blow == "reboot":
            running = [name for name, state in self._servers() if state == "running"]
            for name in running:
                self._ec2.reboot_instances(InstanceIds=[name])
            return bool(running)
        victims = self._processes(blow)
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(victims)

    def _processes(self, kind: str) -> list[int]:
        """Host pids of this kind in the cloud's servers."""
        found = []
        for file in self._inits():
            with suppress(FileNotFoundError, ValueError, ProcessLookupError):
                inside = Path(f"/proc/{int(file.read_text())}/ns/pid").readlink()
                within = [pid for pid in processes() if namespace(pid) == inside]
                if kind == "sshd":
                    found += [pid for pid in within if command(pid).startswith(b"sshd: /usr/sbin/sshd")]
                    continue
                found += pair_of(pid for pid in within if b"/scripts/part-001" in command(pid))[kind == "supervisor" :][
                    :1
                ]
        return found

    def _inits(self) -> list[Path]:
        """The files with the pids of servers' inits."""
        return list(Path(f"/run/skylift/{self._cloud.number}").glob("i-*/init.pid"))

    # What became of it.

    def _attend(self, each: Round, client: subprocess.Popen[bytes]) -> None:
        """Until a client has seen the end, or has said that there is none to be seen."""
        try:
            client.wait(LONG)
            if client.returncode == -signal.SIGKILL:
                client = self._client(each, "attach", each.name)
                client.wait(LONG)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{each}: its client does not see its end\n{self._facts(each)}") from None
        self._code = client.returncode

    def _judge(self, each: Round) -> str:
        state, code = self._ended(each)
        self.ends[state] += 1
        starts = self._object(each, "results/starts")
        hit = {blow.split(" ")[0] for blow in each.struck}
        if starts not in (None, b"started\n"):
            raise Wrong(f"{each}: its program was started again\n{self._facts(each)}")
        excuses = {
            "failed": code == 7 and self._is_whole(each),
            "rebooted": code == 122 and "reboot" in hit,
            # A client that cannot go on before the program has started takes everything down.
            "broken": code == 125 and ({"keeper", "supervisor"} <= hit or ("cloud" in hit and starts is None)),
            "lost": bool({"client", "cloud"} & hit) and not self._instances(each),
        }
        # A client whose cloud goes away in the middle of a launch gives up; its server does not.
        gave_up = self._code == 125 and "cloud" in hit
        if not excuses.get(state) or (state != "lost" and self._code != code and not gave_up):
            raise Wrong(f"{each}: {state}, {code}, its client {self._code}\n{self._facts(each)}")
        until(lambda: set(self._instances(each)) <= {"terminated"}, f"the server of {each} to be gone", LONG)
        if len(self._instances(each)) > 1:
            raise Wrong(f"{each} had more than one server")
        return f"{state}, {code}"

    def _ended(self, each: Round) -> tuple[str, int | None]:
        listed = json.loads(self._cloud.skylift("ps", "--all", "--json").stdout)
        found = [(job["state"], job["exit_code"]) for job in listed if job["name"] == each.name]
        return found[0] if found else ("lost", None)

    def _is_whole(self, each: Round) -> bool:
        """Every line once and in its order, and the result: as the record has them, and as a client has shown them."""
        result = self._object(each, "results/result")
        whole = b"".join(b"%09d\n" % number for number in range(int(result or b"0")))
        if self._code == 125:
            return bool(result) and whole == self._stdout(each)
        shown = (each.folder / "shown").read_bytes()
        here = (each.folder / "result").read_bytes() if (each.folder / "result").exists() else None
        return bool(result) and here == result and whole == self._stdout(each) == shown

    def _stdout(self, each: Round) -> bytes:
        """As whoever reads the pieces puts them together: one that was sent again may go further than before."""
        s3, whole = self._cloud.client("s3"), b""
        top = f"jobs/{each.name}/server/stdout/"
        for piece in s3.list_objects_v2(Bucket=self._bucket, Prefix=top).get("Contents", []):
            start = int(piece["Key"].rsplit("/", 1)[1])
            whole += s3.get_object(Bucket=self._bucket, Key=piece["Key"])["Body"].read()[len(whole) - start :]
        return whole

    @property
    def _bucket(self) -> str:
        return f"skylift-{self._cloud.endpoint.account}-{self._cloud.endpoint.region}"

    def _object(self, each: Round, inner: str) -> bytes | None:
        try:
            found = self._cloud.client("s3").get_object(Bucket=self._bucket, Key=f"jobs/{each.name}/server/{inner}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket"):
                raise
            return None
        body: bytes = found["Body"].read()
        return body

    def _instances(self, each: Round) -> list[str]:
        """The states of all that the job ever had."""
        return [state for _, state in self._servers(each.name)]

    @property
    def _ec2(self) -> Any:
        """Where the cloud is now: another one may have taken its port while it was away."""
        return self._cloud.client("ec2")

    def _servers(self, job: str = "*") -> list[tuple[str, str]]:
        answer = self._ec2.describe_instances(Filters=[{"Name": "tag:skylift:job", "Values": [job]}])
        found: list[dict[str, Any]] = [each for group in answer["Reservations"] for each in group["Instances"]]
        return [(each["InstanceId"], each["State"]["Name"]) for each in found]

    def _facts(self, each: Round) -> str:
        """All that there is to see of a job that went wrong."""
        parts = [f"status: {self._object(each, 'status.json')!r}", f"servers: {self._servers(each.name)}"]
        parts += [f"{name}:\n{(each.folder / name).read_text(errors='replace')[-3000:]}" for name in ("words", "shown")]
        for instance, _ in self._servers(each.name):
            console = self._ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")
            parts.append(f"console of {instance}:\n{console[-3000:]}")
            root = Path(f"/run/skylift/{self._cloud.number}/{instance}/root")
            ledger = root / "var/lib/skylift" / each.name / "ledger"
            if ledger.exists():
                parts.append(f"ledger: {ledger.read_text()[-3000:]}")
        for file in self._inits():
            inside = namespace(int(file.read_text()))
            within = [f"{pid} {command(pid)!r}" for pid in processes() if namespace(pid) == inside]
            parts.append(f"processes of {file.parent.name}:\n" + "\n".join(within))
        parts.append(f"log of the cloud:\n{self._cloud.home.data.log.read_text(errors='replace')[-3000:]}")
        return "\n".join(parts)


def processes() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def namespace(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:
        return None


def pair_of(booted: Iterable[int]) -> list[int]:
    """The keeper and its supervisor, once they are two. Whoever strikes user data before that, which forks on its way
    as well, leaves a server that goes off at its deadline, and no sooner."""
    parents = {pid: lineage(pid) for pid in booted}
    keepers = {pid for pid, (_, session) in parents.items() if session == pid}
    return next(([parent, pid] for pid, (parent, _) in parents.items() if parent in keepers), [])


def lineage(pid: int) -> tuple[int, int]:
    """Its parent, and the leader of its session."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[1]), int(fields[3])


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def main(arguments: Sequence[str] | None = None) -> int:
    with (
        options(arguments, "Kill the parts of jobs at random moments", "rounds", 100) as chosen,
        real_cloud(chosen.images) as cloud,
    ):
        chaos = Chaos(cloud, chosen.seed)
        try:
            chaos.run(chosen.times, lambda line: print(line, flush=True))
        except Wrong as error:
            print(f"WRONG: {error}", flush=True)
            return 1
        print(f"blows: {dict(chaos.blows)}; ends: {dict(chaos.ends)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
