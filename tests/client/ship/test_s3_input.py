"""`--in s3://...`: what it names, where that goes, and what a job's server may read for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine
from support.whole_run import Seen, host, order, run

from skylift.client.errors import UsageError
from skylift.client.job.job import Program, S3Input
from skylift.client.job.settings import Settings
from skylift.client.launch import role
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.api import Api
from skylift.client.ship.bundle import plan_bundle
from skylift.client.ship.s3_input import S3Source, find_sources

KEYS = [
    "top.csv",
    "data/2024/a.csv",
    "data/2024/deep/b.csv",
    "data/2024/notes.txt",
    "data/2024.csv",
    "data/20245/c.csv",
    "data/year=2025/d.csv",
    "data/empty/",
]


@pytest.fixture
def lake(api: Api) -> Api:
    api.call("s3", "create_bucket", Bucket="lake")
    for key in KEYS:
        api.put("lake", key, key.encode())
    return api


def find(api: Api, folder: Path, *texts: str, cwd: str = ".") -> tuple[S3Source, ...]:
    (folder / cwd).mkdir(exist_ok=True)
    inputs = [S3Input(text, *text.removeprefix("s3://").split("/", 1)) for text in texts]
    bundle = plan_bundle(folder / cwd, folder, [], [])
    return find_sources(api, inputs, bundle)


def places(api: Api, folder: Path, text: str, **where: str) -> dict[str, str]:
    (source,) = find(api, folder, text, **where)
    return {each.place: each.key for each in source.objects}


@pytest.mark.parametrize(
    ("text", "expected", "pattern"),
    [
        ("s3://lake/top.csv", {"top.csv": "top.csv"}, "top.csv"),
        ("s3://lake/data/2024.csv", {"2024.csv": "data/2024.csv"}, "data/2024.csv"),
        (
            "s3://lake/data/2024/",
            {
                "2024/a.csv": "data/2024/a.csv",
                "2024/deep/b.csv": "data/2024/deep/b.csv",
                "2024/notes.txt": "data/2024/notes.txt",
            },
            "data/2024/*",
        ),
        ("s3://lake/data/20245", {"20245/c.csv": "data/20245/c.csv"}, "data/20245/*"),
        ("s3://lake/data/year=2025/", {"year=2025/d.csv": "data/year=2025/d.csv"}, "data/year=2025/*"),
        ("s3://lake/data/2024/*.csv", {"a.csv": "data/2024/a.csv"}, "data/2024/*.csv"),
        (
            "s3://lake/data/2024/**/*.csv",
            {"a.csv": "data/2024/a.csv", "deep/b.csv": "data/2024/deep/b.csv"},
            "data/2024/**.csv",
        ),
        ("s3://lake/data/202[!5]?/*", {"20245/c.csv": "data/20245/c.csv"}, "data/202??/*"),
        ("s3://lake/data/*/d.csv", {"year=2025/d.csv": "data/year=2025/d.csv"}, "data/*/d.csv"),
    ],
)
def test_what_is_named_and_where_it_goes(
    lake: Api, tmp_path: Path, text: str, expected: dict[str, str], pattern: str
) -> None:
    (source,) = find(lake, tmp_path, text)
    assert {each.place: each.key for each in source.objects} == expected
    assert source.arn == f"arn:aws:s3:::lake/{pattern}"


def test_a_whole_bucket_and_a_folder_to_work_in(lake: Api, tmp_path: Path) -> None:
    found = places(lake, tmp_path, "s3://lake/", cwd="app")
    assert found == {f"app/lake/{key}": key for key in KEYS if not key.endswith("/")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3://lake/nothing", "nothing is there"),
        ("s3://lake/data/empty/", "nothing is there"),
        ("s3://lake/*.parquet", "nothing is there"),
        ("s3://no-such-bucket-at-all/x", "there is no bucket"),
    ],
)
def test_what_is_not_there_is_told_before_anything_is_made(lake: Api, tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find(lake, tmp_path, text)


@pytest.mark.parametrize("key", ["odd//a", "odd/../a", "odd/./a"])
def test_a_key_that_is_no_path_is_refused(lake: Api, tmp_path: Path, key: str) -> None:
    lake.put("lake", key, b"x")
    with pytest.raises(UsageError, match="cannot be the name of a file"):
        find(lake, tmp_path, "s3://lake/odd/")


@pytest.mark.parametrize(
    ("file", "texts"),
    [
        ("top.csv", ["s3://lake/top.csv"]),
        ("2024/a.csv/x", ["s3://lake/data/2024/"]),
        ("2024", ["s3://lake/data/2024/"]),
        ("unrelated", ["s3://lake/data/2024/a.csv", "s3://lake/other/a.csv"]),
    ],
)
def test_two_things_cannot_be_at_one_place(lake: Api, tmp_path: Path, file: str, texts: list[str]) -> None:
    lake.put("lake", "other/a.csv", b"x")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("x")
    with pytest.raises(UsageError, match="same place"):
        find(lake, tmp_path, *texts)


def test_an_archived_object_is_told(lake: Api, tmp_path: Path) -> None:
    lake.call("s3", "put_object", Bucket="lake", Key="old/a", Body=b"x", StorageClass="GLACIER")
    with pytest.raises(UsageError, match="archived"):
        find(lake, tmp_path, "s3://lake/old/")


@pytest.mark.parametrize("text", ["s3://", "s3:/lake/x", "s3://UPPER/x", "s3://a"])
def test_what_is_no_place_in_s3(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="not a place in S3"):
        plan_job(Order(Program("command", "true"), inputs=[text]), tmp_path, {})


def test_boundary_names_the_buckets_and_is_made_once(api: Api) -> None:
    arn = role.ensure_boundary(api, "123456789012", ["lake", "sea"])
    assert role.ensure_boundary(api, "123456789012", ["lake", "sea"]) == arn
    assert arn != role.ensure_boundary(api, "123456789012", ["lake"])
    assert arn.split("/")[-1].startswith(f"{role.BOUNDARY}-")
    version = api.call("iam", "get_policy_version", PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    (opened,) = [each for each in version["Document"]["Statement"] if each["Sid"] == "OtherBuckets"]
    assert opened["Resource"] == ["arn:aws:s3:::lake/*", "arn:aws:s3:::sea/*"]


def test_wildcards_in_keys_are_no_wildcards_in_policies(lake: Api, tmp_path: Path) -> None:
    lake.put("lake", "price-$1/a", b"x")
    (source,) = find(lake, tmp_path, "s3://lake/price-$1/")
    assert source.arn == "arn:aws:s3:::lake/price-${$}1/*"


SOURCE = """
import os
for folder, _, names in sorted(os.walk(".")):
    for name in sorted(names):
        if name != "job.py":
            path = os.path.join(folder, name)
            print(path, os.path.getsize(path), open(path).read()[:12])
"""


def test_they_come_to_the_server(settings: Settings, lake: Api, machine: Machine, tmp_path: Path) -> None:
    folder, seen, policies = tmp_path / "work", Seen(), {}
    folder.mkdir()
    big = os.urandom(1 << 20).hex().encode() * 33
    lake.put("lake", "big/one.hex", big)
    job = order(folder, SOURCE, inputs=["s3://lake/data/2024/", "s3://lake/big/*"])

    def look(step: str) -> None:
        if step == "server":
            name = f"skylift-{job.name}"
            answer: Any = lake.call("iam", "get_role_policy", RoleName=name, PolicyName="job")
            policies["read"] = answer["PolicyDocument"]["Statement"][0]["Resource"]
            policies["boundary"] = lake.call("iam", "get_role", RoleName=name)["Role"]["PermissionsBoundary"]

    seen.begin = look  # type: ignore[method-assign]
    with host(lake, machine):
        outcome = run(job, settings, seen)
    machine.wait()
    assert outcome.exit_code == 0, (outcome.reason, machine.console())
    assert seen.streams["stdout"].decode().splitlines() == [
        f"./one.hex {len(big)} {big[:12].decode()}",
        "./2024/a.csv 15 data/2024/a.",
        "./2024/notes.txt 19 data/2024/no",
        "./2024/deep/b.csv 20 data/2024/de",
    ]
    assert {"arn:aws:s3:::lake/data/2024/*", "arn:aws:s3:::lake/big/*"} < set(policies["read"])
    assert policies["boundary"]["PermissionsBoundaryArn"].endswith(
        role.boundary_arn("123456789012", ["lake"]).split("/")[-1]
    )


def test_an_object_that_changes_under_way_ends_the_job(
    settings: Settings, lake: Api, machine: Machine, tmp_path: Path
) -> None:
    folder, seen = tmp_path / "work", Seen()
    folder.mkdir()

    def change(step: str) -> None:
        if step == "server":
            lake.put("lake", "top.csv", b"another content")

    seen.begin = change  # type: ignore[method-assign]
    with host(lake, machine):
        outcome = run(order(folder, "print('never')", inputs=["s3://lake/top.csv"]), settings, seen)
    machine.wait()
    assert (outcome.state, outcome.exit_code) == ("broken", 125)
    assert "top.csv cannot be fetched" in outcome.reason
    assert "changed since" in outcome.reason
    assert json.dumps(outcome.as_json())
