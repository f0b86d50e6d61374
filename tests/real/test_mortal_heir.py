"""A client is killed after each call of a run that takes over a server which `--keep` left up: the job runs once, or it
has not been started, and the server is somebody's all the time."""

from __future__ import annotations

import json
import signal

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import jobs
from test_mortal_client import bucket, instances_of, result, run

pytestmark = pytest.mark.real

KEPT = ("--keep", "10m")


@pytest.mark.parametrize("each", [3, pytest.param(1, marks=pytest.mark.nightly)])
def test_killed_after_every_call_of_a_handover(cloud: RealCloud, each: int) -> None:
    """After every third, with the last of those that are written; at night after each."""
    first_name = keep_a_server(cloud, f"heir-{each}")
    last = f"heir-{each}-recorded"
    code, calls, words = run(cloud, last, "-", *KEPT, project="heirs")
    assert (code, f"kept since {first_name}" in words) == (3, True), words
    known = [first_name, last]
    # Before these a run leaves nothing; what it does after its job's end is what each run does.
    first, taken = calls.index("s3.PutObject#1"), max(n for n, call in enumerate(calls) if "s3.PutObject#" in call)
    assert {"ec2.CreateTags#1", "iam.PutRolePolicy#1"} <= set(calls[first:taken])
    ran = []
    for number, call in enumerate(calls[first : taken + 2], first):
        if (number - taken) % each:
            continue
        name = f"heir-{each}-{number}"
        code, made, words = run(cloud, name, call, *KEPT, project="heirs")
        # A call that is made until something is there may be made less often the next time.
        assert code == (-signal.SIGKILL if made[-1] == call else 3), (call, code, words)
        known.append(name)
        if taken_by(cloud, last) == name:
            until(lambda name=name: state(cloud, name) == "failed", f"the job that was started ({call})", 120)
            assert result(cloud, name) == b"started\n", call
            ran.append(call)
            last = name
        else:
            assert state(cloud, name) != "failed" and result(cloud, name) is None, call
            if claimed(cloud, last):
                # Nobody else may have that server; its time ends it, and so may its user.
                cloud.skylift("cancel", holder(cloud, last))
                known.append(last := keep_a_server(cloud, f"heir-{each}-again-{number}"))
    assert calls[taken] in ran, "the last thing that is written is what starts the job"
    cloud.skylift("cancel", last)
    mine = {job["name"] for job in jobs(cloud)} & set(known)
    assert mine == set(), "every server is somebody's, and ended with its job"
    roles = cloud.job_roles()
    assert [role for role in roles if "-heir" in role] == []


def keep_a_server(cloud: RealCloud, name: str) -> str:
    code, _, words = run(cloud, name, "-", *KEPT, "--fresh", project="heirs")
    assert code == 3, words
    return name


def state(cloud: RealCloud, name: str) -> str | None:
    """As the server last told it."""
    found = read(cloud, f"jobs/{name}/server/status.json")
    return found and str(found["state"])


def taken_by(cloud: RealCloud, last: str) -> str | None:
    found = read(cloud, f"jobs/{last}/server/next.json")
    return found and found["job"]


def claimed(cloud: RealCloud, last: str) -> bool:
    return read(cloud, f"jobs/{last}/server/claim.json") is not None


def holder(cloud: RealCloud, last: str) -> str:
    """Whose the server is by its tags: the last job's, or that of the client which claimed it."""
    if instances_of(cloud, last):
        return last
    claim = read(cloud, f"jobs/{last}/server/claim.json")
    assert claim is not None
    return str(claim["job"])


def read(cloud: RealCloud, key: str) -> dict[str, str | None] | None:
    s3 = cloud.client("s3")
    try:
        body = s3.get_object(Bucket=bucket(cloud), Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    found: dict[str, str | None] = json.loads(body)
    return found
