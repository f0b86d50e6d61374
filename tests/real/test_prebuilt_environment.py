"""An environment that one job's server has built and another's takes, and what a program may not do to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_cloud import RealCloud

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
    ("put_object", f"{place}/pin.json", {"Body": b"{}"}),
    ("put_object", f"{place}/pin.json", {"Body": b"{}", "IfNoneMatch": "*"}),
    ("create_multipart_upload", f"{place}/pin.json", {}),
    ("delete_object", f"{place}/pin.json", {}),
    ("get_object", f"{place}/index.json", {}),
    ("put_object", f"{place}0/pin.json", {"Body": b"{}", "IfNoneMatch": "*"}),
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
    cloud.skylift("rm", "builder", "taker")
