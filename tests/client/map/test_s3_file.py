"""An object of S3 that is read as a file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import IO

import pytest

from skylift.client.errors import UsageError
from skylift.client.map.inputs import InputWords, find_inputs
from skylift.client.map.s3_file import open_object
from skylift.client.plan.plan_job import read_s3
from skylift.client.remote.api import Api
from skylift.client.ship.s3_input import S3Object, S3Source, find_source

PLACE = "s3://data-of-a-user/in/table.csv"


@cache
def rows() -> bytes:
    """More than one request reads."""
    return b"number,text\n" + b"".join(b'%d,"some\ntext"\n' % number for number in range(600_000))


@pytest.fixture
def source(api: Api) -> S3Source:
    api.call("s3", "create_bucket", Bucket="data-of-a-user")
    api.put("data-of-a-user", "in/table.csv", rows())
    return find_source(api, read_s3(PLACE, ""))


def test_it_is_read_whole_and_from_its_start_again(api: Api, source: S3Source) -> None:
    assert len(rows()) > 8 << 20
    with open_object(api, source.bucket, source.objects[0]) as file:
        assert file.read(20) == rows()[:20]
        file.seek(0)
        assert file.read() == rows()
        assert file.read(1) == b""


def test_its_parts_are_all_of_it(api: Api, source: S3Source) -> None:
    def reading(bucket: str, found: S3Object) -> IO[bytes]:
        return open_object(api, bucket, found)

    found = find_inputs(InputWords((PLACE,), split=3 << 20), Path.cwd(), lambda _: source, reading).found
    assert len(found) >= 3
    parts = [each.object for each in found if each.object is not None]
    header = len(b"number,text\n")
    assert {each.header for each in parts} == {header}
    assert parts[0].begin == header
    assert [each.end for each in parts] == [*(each.begin for each in parts[1:]), len(rows())]
    assert all(rows()[each.begin - 2 : each.begin] in (b'"\n', b"t\n") for each in parts)


@pytest.mark.parametrize("how", ["written", "removed"])
def test_one_that_is_changed_meanwhile_is_told(api: Api, source: S3Source, how: str) -> None:
    def reading(bucket: str, found: S3Object) -> IO[bytes]:
        if how == "written":
            api.put(bucket, found.key, rows() + b"1,2\n")
        else:
            api.call("s3", "delete_object", Bucket=bucket, Key=found.key)
        return open_object(api, bucket, found)

    with pytest.raises(UsageError, match=f"--split: {PLACE} cannot be read: it was changed meanwhile"):
        find_inputs(InputWords((PLACE,), split=3 << 20), Path.cwd(), lambda _: source, reading)
