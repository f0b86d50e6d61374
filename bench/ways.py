"""Three ways to a hello from a server: `skylift run`, the chapter's steps with the AWS CLI, apache-libcloud.

    sudo python bench/ways.py [--rounds N] [--images-of HOME]

All three ask the same cloud, from nothing to the program's output to nothing left. `skylift run` finds its network, key
and bucket from the second round on; the first is shown too. Needs the AWS CLI and apache-libcloud with paramiko in this
environment (`pip install awscli apache-libcloud paramiko`).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from own_cloud import EXAMPLES, SKYLIFT, add_images_option, cloud_up, environment

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    add_images_option(parser)
    chosen = parser.parse_args()
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory() as work:
        endpoint, key = home.endpoint(), home.root_key()
        assert endpoint is not None and key is not None
        env = environment(home) | {
            "AWS": str(Path(sys.executable).with_name("aws")),
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_DEFAULT_REGION": endpoint.region,
            "AWS_ENDPOINT_URL": endpoint.url,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
            "CIDR": f"{endpoint.loopback}/32",
        }
        ways: dict[str, Sequence[str]] = {
            "skylift run": (*SKYLIFT, "run", "--quiet", str(EXAMPLES / "hello.py")),
            "the AWS CLI by hand": (str(HERE / "by_hand.sh"),),
            "apache-libcloud": (
                *(sys.executable, str(HERE / "libcloud_job.py"), endpoint.url, key.access_key_id),
                *(key.secret_access_key, endpoint.region, f"{endpoint.loopback}/32", work),
            ),
        }
        first = seconds(ways["skylift run"], env)
        rounds = [{name: seconds(command, env) for name, command in ways.items()} for _ in range(chosen.rounds)]
    print(f"skylift run, first ever: {first:.2f} s; then {chosen.rounds} rounds, medians in s")
    for name in ways:
        ratio = statistics.median(each[name] / each["skylift run"] for each in rounds)
        print(f"  {name:22}{statistics.median(each[name] for each in rounds):7.2f}{ratio:8.1f}x")


def seconds(command: Sequence[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=env, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    if done.returncode != 0 or "ello" not in done.stdout:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return taken


if __name__ == "__main__":
    main()
