"""An environment that one job's server has built and another's takes, and what a program may not do to it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real

# Runs in the environment that is being kept; the image's own Python has botocore, with the AWS CLI.
PROGRAM = """
import humanize, json, subprocess
attempts = r'''
import json
import awscli
from botocore.exceptions import ClientError
from botocore.session import Session

s3 = Session().create_client("s3")
bucket = BUCKET
record = json.load(s3.get_object(Bucket=bucket, Key="jobs/builder/record.json")["Body"])
place = record["prebuilt"]["place"]
answers = []
for operation, key, more in (
    ("put_object", f"{place}/proven.json", {"Body": b"{}"}),
    ("put_object", f"{place}/proven.json", {"Body": b"{}", "IfNoneMatch": "*"}),
    ("create_multipart_upload", f"{place}/proven.json", {}),
    ("delete_object", f"{place}/proven.json", {}),
    ("get_object", f"{place}/index.json", {}),
    ("put_object", f"{place}0/proven.json", {"Body": b"{}", "IfNoneMatch": "*"}),
    ("put_object", "envs/other/index.json", {"Body": b"{}"}),
):
    try:
        getattr(s3, operation)(Bucket=bucket, Key=key, **more)
        answers.append("done")
    except ClientError as error:
        answers.append(error.response["Error"]["Code"])
print(json.dumps(answers))
'''
print(humanize.__version__, flush=True)
subprocess.run(["/usr/bin/python3", "-c", attempts.replace("BUCKET", repr(BUCKET))], check=True)
"""


@pytest.fixture
def folder(cloud: RealCloud) -> Path:
    found = cloud.work / "prebuilt"
    found.mkdir()
    (found / "requirements.txt").write_text("humanize==4.12.1\n")
    return found


def test_it_is_built_once_and_nobody_can_plant_another(cloud: RealCloud, folder: Path) -> None:
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    (folder / "job.py").write_text(f"BUCKET = {bucket!r}\n{PROGRAM}")
    built = cloud.skylift("run", "--name", "builder", "job.py", cwd=folder)
    version, answers = built.stdout.splitlines()
    assert version == "4.12.1"
    assert json.loads(answers) == [
        "AccessDenied",
        "PreconditionFailed",
        "AccessDenied",
        "AccessDenied",
        "AccessDenied",
        "AccessDenied",
        "AccessDenied",
    ]
    (folder / "job.py").write_text("import humanize\nprint(humanize.__version__)\n")
    taken = cloud.skylift("run", "--name", "taker", "job.py", cwd=folder)
    assert taken.stdout == "4.12.1\n"
    assert "as it was built before" in taken.stderr
    other = cloud.work / "another project"
    shutil.copytree(folder, other)
    again = cloud.skylift("run", "--name", "another", "job.py", cwd=other)
    assert "as it was built before" in again.stderr, "all of it comes from wheels"
    cloud.skylift("rm", "builder", "taker", "another")


def test_what_has_to_be_built_is_only_taken_by_its_own_project(cloud: RealCloud) -> None:
    one, two = cloud.work / "one", cloud.work / "two"
    one.mkdir()
    (one / "requirements.txt").write_text("docopt==0.6.2\n")
    (one / "job.py").write_text("import docopt\nprint(docopt.__version__)\n")
    shutil.copytree(one, two)
    done = [
        cloud.skylift("run", "--name", f"docopt{number}", "job.py", cwd=each)
        for number, each in enumerate((one, two, one, two))
    ]
    assert [each.stdout for each in done] == ["0.6.2\n"] * 4
    assert ["as it was built before" in each.stderr for each in done] == [False, False, True, True]
    cloud.skylift("rm", *(f"docopt{number}" for number in range(4)))


PLANTS = """
import json, pathlib, subprocess, sys
pathlib.Path(sys.prefix, "planted").touch()
subprocess.run(["sudo", "touch", "/etc/planted"], check=True)
attempt = r'''
import awscli
from botocore.exceptions import ClientError
from botocore.session import Session

ec2, instance = Session().create_client("ec2"), INSTANCE
for operation, more in (
    ("create_image", {"InstanceId": instance, "Name": "skylift-environment-" + "a" * 40, "NoReboot": True}),
    ("create_tags", {"Resources": [instance], "Tags": [{"Key": "skylift:environment", "Value": "a" * 40}]}),
):
    try:
        getattr(ec2, operation)(**more)
        print("done")
    except ClientError as error:
        print(error.response["Error"]["Code"])
'''
instance = pathlib.Path("/var/lib/cloud/data/instance-id").read_text().strip()
subprocess.run(["/usr/bin/python3", "-c", attempt.replace("INSTANCE", repr(instance))], check=True)
"""
LOOKS = """
import pathlib, sys
from importlib.metadata import version
print(version("ruff"), pathlib.Path(sys.prefix, "planted").exists(), pathlib.Path("/etc/planted").exists())
"""


def test_a_large_one_is_in_the_image_of_the_next_server(cloud: RealCloud) -> None:
    """Not as the program left it, but as it was built; and only where all is the same."""
    s3, folder = cloud.client("s3"), cloud.work / "imaged"
    folder.mkdir()
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"

    def run(name: str, program: str, needs: str) -> tuple[subprocess.CompletedProcess[str], str]:
        (folder / "job.py").write_text(program)
        (folder / "requirements.txt").write_text(needs)
        done = cloud.skylift("run", "--name", name, "job.py", cwd=folder)
        record = json.load(s3.get_object(Bucket=bucket, Key=f"jobs/{name}/record.json")["Body"])
        return done, record["image"]

    first, base = run("plants", PLANTS, "ruff==0.14.5\n")
    assert first.stdout == "UnauthorizedOperation\nUnauthorizedOperation\n"
    (made,) = cloud.ec2.describe_images(Owners=["self"])["Images"]
    # Nothing is left of the server that it was made of.
    assert [each for each in cloud.skylift("ps", "--all").stdout.split() if each.startswith("environment-")] == []
    second, image = run("looks", LOOKS, "ruff==0.14.5\n")
    assert (second.stdout, image) == ("0.14.5 False False\n", made["ImageId"])
    assert "in the server's image" in second.stderr
    assert "Image" not in second.stderr
    other, image = run("other", LOOKS.replace("ruff", "humanize"), "humanize==4.12.1\n")
    assert (other.stdout, image) == ("4.12.1 False False\n", base)
    cloud.skylift("rm", "plants", "looks", "other")
    cloud.ec2.deregister_image(ImageId=made["ImageId"], DeleteAssociatedSnapshots=True)
