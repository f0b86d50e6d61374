"""The programs of examples/, by the commands that their READMEs tell."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.shared_images import one_at_a_time

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def examples(cloud: RealCloud, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A copy in a folder of its own: the parent of `examples/`."""
    folder = cloud.work / request.node.name
    shutil.copytree(EXAMPLES, folder / "examples")
    before = living(cloud)
    yield folder
    until(lambda: living(cloud) <= before, "the example's servers to be gone")


def living(cloud: RealCloud) -> set[str]:
    found = [instance for each in cloud.ec2.describe_instances()["Reservations"] for instance in each["Instances"]]
    return {each["InstanceId"] for each in found if each["State"]["Name"] != "terminated"}


def told(example: str, word: str) -> list[str]:
    """The README's command lines that begin with a word, without it."""
    page = (EXAMPLES / example / "README.md").read_text()
    return [line.strip().removeprefix(f"{word} ") for line in page.splitlines() if line.startswith(f"    {word} ")]


def run(cloud: RealCloud, folder: Path, command: str) -> str:
    done = cloud.skylift(*command.split(), cwd=folder)
    return done.stdout


def test_a_project_has_its_options_in_its_own_table(cloud: RealCloud, examples: Path) -> None:
    project = examples / "examples/project"
    first, second = told("project", "skylift")
    assert run(cloud, project, first) == run(cloud, project, second)
    report = json.loads((project / "report.json").read_text())
    log = (project / "data/access.log").read_text().splitlines()
    assert sum(report["requests"].values()) + report["unread"] == len(log)
    assert report["requests"]["404"] == sum('HTTP/1.1" 404 ' in line for line in log)


def test_runs_on_a_kept_server_share_it(cloud: RealCloud, examples: Path) -> None:
    *runs, cancel = told("warm", "skylift")
    output = [run(cloud, examples, command) for command in runs]
    run(cloud, examples, cancel)
    found = [re.fullmatch(r"step (\d) on (\S+), at [\d:]+\n", each) for each in output]
    assert [match and match[1] for match in found] == ["1", "2", "3", "4"]
    assert len({match and match[2] for match in found}) == 1
    cloud.skylift("sweep")


def test_a_folder_is_summed_up_by_file_and_then_by_all(cloud: RealCloud, examples: Path) -> None:
    make, *_ = told("map", "python")
    sum_up(cloud, examples / "examples/map", make, "--servers 1")


@pytest.mark.nightly
def test_a_gigabyte_is_summed_up_by_two_servers(cloud: RealCloud, examples: Path) -> None:
    """As the README has it."""
    folder = examples / "examples/map"
    sum_up(cloud, folder, "make.py data 12 1300000", "--servers 2")
    assert sum(each.stat().st_size for each in folder.glob("data/*.csv")) > 1 << 30


def sum_up(cloud: RealCloud, folder: Path, make: str, servers: str) -> None:
    """What comes of it is what one machine makes of the same files, row after row."""
    _, combine = told("map", "python")
    made = python(cloud, folder, make, cloud.environment)
    assert made.returncode == 0, made.stderr
    (command,) = told("map", "skylift")
    run(cloud, folder, command.replace("map ", f"map {servers} ", 1))
    hours, costs, dearest = Counter[str](), Counter[str](), Counter[str]()
    for path in folder.glob("data/*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                region, price = row["region"], int(row["microdollars"])
                hours[region] += 1
                costs[region] += price
                dearest[region] = max(dearest[region], price)
    assert hours.total() == int(make.split()[2]) * int(make.split()[3])
    words = ("hours", "USD,", "the", "dearest")
    expected = [
        [each, str(hours[each]), words[0], spell(costs[each]), *words[1:], spell(dearest[each])]
        for each in ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2")
    ]
    output = python(cloud, folder, combine, cloud.environment).stdout
    assert [line.split() for line in output.splitlines()] == expected


def spell(microdollars: int) -> str:
    return f"{microdollars // 1_000_000}.{microdollars % 1_000_000:06}"


def test_seeds_give_the_digits_that_one_machine_gives(cloud: RealCloud, examples: Path) -> None:
    folder = examples / "examples/montecarlo"
    (command,) = told("montecarlo", "skylift")
    (combine,) = told("montecarlo", "python")
    run(cloud, folder, command)
    for seed in range(1, 11):
        here = folder / f"here/{seed}"
        here.mkdir(parents=True)
        assert python(cloud, here, f"{folder}/option.py {seed}", cloud.environment).returncode == 0
    there = python(cloud, folder, combine, cloud.environment).stdout
    assert there.endswith("by 200000 paths of 10 seeds\n")
    assert python(cloud, folder, "combine.py here", cloud.environment).stdout == there


def test_jobs_at_the_same_time_from_python(cloud: RealCloud, examples: Path) -> None:
    (command,) = told("api", "python")
    done = python(cloud, examples, command, cloud.environment)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"pi is about 3\.1[34]\d, say 3 servers\n", done.stdout)
    assert "pi-" not in cloud.skylift("ps", "--all").stdout


@pytest.fixture
def dask_python(shared: Path) -> Path:
    """The Python that `uv run` has in the example's folder, of the version that the servers' image has."""
    place = shared / "dask-example"
    uv, project = [sys.executable, "-m", "uv"], EXAMPLES / "dask/pyproject.toml"
    with one_at_a_time(place):
        if not (place / "complete").exists():
            subprocess.run([*uv, "venv", "--quiet", "--python", "3.13", str(place)], check=True)
            into = [*uv, "pip", "install", "--quiet", "--python", str(place / "bin/python")]
            subprocess.run([*into, "--editable", str(EXAMPLES.parent), "--requirements", str(project)], check=True)
            (place / "complete").touch()
    return place / "bin/python"


@pytest.mark.nightly
def test_a_group_by_over_parquet_in_s3_is_what_one_machine_computes(
    cloud: RealCloud, examples: Path, dask_python: Path
) -> None:
    """pandas and pyarrow are large: the small size of this runs at night, too."""
    folder = examples / "examples/dask"
    subprocess.run([sys.executable, "-m", "uv", "lock", "--quiet"], cwd=folder, check=True)
    environment = cloud.environment | at_the_cloud(cloud)
    cloud.client("s3").create_bucket(Bucket="my-prices")
    make, compute = told("dask", "uv run --with 'skylift[dask]' python")
    assert make.endswith(" 12 20000")
    made = python(cloud, folder, make, environment, dask_python)
    assert made.returncode == 0, made.stderr
    done = python(cloud, folder, compute, environment, dask_python)
    assert done.returncode == 0, done.stderr
    alone = subprocess.run([dask_python, "-c", ALONE], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == alone.stdout, alone.stderr
    assert len(done.stdout.splitlines()) > 100


ALONE = """
import pandas
hours = pandas.read_parquet("s3://my-prices/hours")
assert len(hours) == 240_000
found = hours.groupby("family").agg({"price": ["count", "sum", "max"], "vcpus": "sum"})
found.columns = ["hours", "cost", "dearest", "vcpu_hours"]
print(found.sort_index().round(6).to_csv(), end="")
"""


def test_a_server_by_boto3_alone(cloud: RealCloud, examples: Path) -> None:
    (command,) = told("boto3", "python")
    before = cloud.ec2.describe_security_groups()["SecurityGroups"], cloud.ec2.describe_key_pairs()["KeyPairs"]
    done = python(cloud, examples, command, cloud.environment | at_the_cloud(cloud))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(i-\w+) is running at 127\.[\d.]+\n.*hello from user data, on ip-.*\n", done.stdout)
    assert before == (
        cloud.ec2.describe_security_groups()["SecurityGroups"],
        cloud.ec2.describe_key_pairs()["KeyPairs"],
    )


def at_the_cloud(cloud: RealCloud) -> dict[str, str]:
    """What `eval "$(skylift cloud env)"` sets."""
    lines = cloud.skylift("cloud", "env").stdout.splitlines()
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    return {name: value.strip("'\"") for name, value in pairs}


def python(
    cloud: RealCloud, folder: Path, command: str, environment: dict[str, str], interpreter: str | Path = sys.executable
) -> subprocess.CompletedProcess[str]:
    words = [interpreter, *command.split()]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)
