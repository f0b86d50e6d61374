"""What does distance cost? `skylift run --on aws`, where AWS is the embedded EC2 with 100 ms before each API call.

    sudo python bench/on_aws.py [--rounds N] [--delay MS] [--calls] [--images-of HOME]

The client knows the account by the keys of a user with the permissions of docs/iam.md alone. Each run is done with the
delay and without, in turn, through the same proxy: `cold` starts a server that ends with its job, `warm` takes over one
that an earlier run has kept and keeps it, `detached` is `run -d` of a cold one, and `first` is the one run of a new
account that makes the network, the bucket and the boundary. Shown are medians. `calls` are the client's; `in a row`
says how many of them came one after the other. The server's own calls and SSH are as near as ever.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from far_api import Call, FarApi, far_api
from own_cloud import EXAMPLES, SKYLIFT, add_images_option, client, cloud_up

from skylift.cloud.state.home import Home

PAGE = Path(__file__).parents[1] / "docs" / "iam.md"
WAYS = {"cold": ("--fresh",), "warm": ("--keep", "10m"), "detached": ("-d", "--fresh")}


@dataclass(frozen=True)
class Run:
    seconds: float
    steps: dict[str, float]
    calls: list[Call]
    chain: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=int, default=100, metavar="MS")
    parser.add_argument("--calls", action="store_true", help="show each call of the last run with the delay")
    add_images_option(parser)
    chosen = parser.parse_args()
    first: dict[int, list[Run]] = {}
    found: dict[tuple[str, int], list[Run]] = {}
    for number in range(2):
        # A new account for each first run. The delay comes second, and goes on to the rounds.
        delay = chosen.delay * number
        with (
            cloud_up(chosen.images_of) as home,
            tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder,
            far_api(url_of(home)) as far,
        ):
            (Path(folder) / "job.py").write_text((EXAMPLES / "hello.py").read_text())
            env = developer(home, far.url, folder)
            first.setdefault(delay, []).append(run(far, delay, folder, env, "--fresh"))
            if delay == 0:
                continue
            run(far, 0, folder, env, *WAYS["warm"])
            for _ in range(chosen.rounds):
                for way, options in WAYS.items():
                    for distance in (0, delay):
                        found.setdefault((way, distance), []).append(run(far, distance, folder, env, *options))
    print(f"{chosen.rounds} rounds, {chosen.delay} ms before each call; load {os.getloadavg()[0]:.1f}")
    for way in ("first", *WAYS):
        near, away = (first[each] if way == "first" else found[way, each] for each in (0, chosen.delay))
        report(way, near, away)
    if chosen.calls:
        for way in WAYS:
            print(f"{way}, from its first call on, in ms")
            show(found[way, chosen.delay][-1].calls)


def url_of(home: Home) -> str:
    endpoint = home.endpoint()
    assert endpoint is not None
    return endpoint.url


def developer(home: Home, url: str, folder: str) -> dict[str, str]:
    """The environment of a user who has what docs/iam.md gives, and nothing of this machine's cloud but its URL."""
    endpoint, iam = home.endpoint(), client(home, "iam")
    assert endpoint is not None
    iam.create_user(UserName="developer")
    for number, block in enumerate(re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)):
        text = block.replace("123456789012", endpoint.account).replace("us-east-1", endpoint.region)
        made = iam.create_policy(PolicyName=f"documented-{number}", PolicyDocument=text)["Policy"]
        iam.attach_user_policy(UserName="developer", PolicyArn=made["Arn"])
    key = iam.create_access_key(UserName="developer")["AccessKey"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SKYLIFT_"))}
    return {
        **kept,
        "HOME": folder,
        "SKYLIFT_HOME": f"{folder}/home",
        "SKYLIFT_ON": "aws",
        "SKYLIFT_SSH_FROM": endpoint.loopback,
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": endpoint.region,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def run(far: FarApi, delay: int, folder: str, env: dict[str, str], *options: str) -> Run:
    far.calls.clear()
    far.delay = delay / 1000
    detached = "-d" in options
    command = [*SKYLIFT, "run", *(() if detached else ("--json",)), *options, "job.py"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    found = Run(seconds, {} if detached else json.loads(done.stdout)["steps"], list(far.calls), far.chain())
    if detached:
        # Its server is to be gone when the next run is measured.
        far.delay = 0
        subprocess.run([*SKYLIFT, "wait", done.stdout.strip()], cwd=folder, env=env, capture_output=True, check=True)
    return found


def report(way: str, near: list[Run], away: list[Run]) -> None:
    def median(runs: list[Run], step: str) -> float:
        return statistics.median(each.steps.get(step, 0) for each in runs) * 1000

    whole = [statistics.median(each.seconds for each in runs) * 1000 for runs in (near, away)]
    calls, chain = (
        statistics.median(each) for each in zip(*((len(one.calls), one.chain) for one in away), strict=True)
    )
    print(f"{way:10}{calls:4.0f} calls, {chain:.0f} in a row; {whole[0]:.0f} ms, far away {whole[1]:.0f} ms:", end=" ")
    print(f"{whole[1] - whole[0]:.0f} ms more")
    for step in away[-1].steps:
        print(f"    {step:14}{median(near, step):6.0f}{median(away, step):8.0f}")


def show(calls: list[Call]) -> None:
    start = min(each.began for each in calls)
    for each in sorted(calls, key=lambda call: call.began):
        print(f"    {(each.began - start) * 1000:6.0f} to {(each.answered - start) * 1000:6.0f}  {each.name}")


if __name__ == "__main__":
    main()
