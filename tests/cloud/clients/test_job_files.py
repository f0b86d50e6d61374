"""Large inputs and results of jobs on their way to the cloud's S3: each part is compared with its CRC32, which is what
its signature covers."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from serverless_cloud import REGION, Cloud

from skylift.agent.remote.aws import Aws, Http, Metadata
from skylift.agent.remote.prefix import Prefix
from skylift.client.errors import Refused
from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.remote.api import Api
from skylift.client.ship.blob_store import BLOBS, Blob, BlobStore

SIZE = (36 << 20) + 7


class Keys(Metadata):
    """An account's own key, as a server's role has one."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__("")
        self._own = {"AccessKeyId": cloud.key, "SecretAccessKey": cloud.secret}

    def credentials(self, renew: bool = False) -> dict[str, str]:
        return self._own


@pytest.fixture
def body(cloud: Cloud) -> bytes:
    cloud.client().create_bucket(Bucket="bucket")
    return os.urandom(SIZE)


def etag_of_md5s(body: bytes) -> str:
    """As S3 makes it of an object of several parts."""
    parts = [body[start : start + (16 << 20)] for start in range(0, len(body), 16 << 20)]
    return f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def damaged(data: bytes) -> bytes:
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


def test_a_part_of_a_result_that_is_damaged_on_the_way_is_sent_again(
    cloud: Cloud, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, signed, broken = Http.send, set[str](), list[str]()

    def breaks(method: str, url: str, headers: dict[str, str], data: bytes = b"", *rest: Any) -> Any:
        if "partNumber" in url:
            signed.add(headers["x-amz-content-sha256"])
            if "partNumber=2&" in url and not broken:
                broken.append(url)
                data = damaged(data)
        return send(method, url, headers, data, *rest)

    monkeypatch.setattr(Http, "send", breaks)
    prefix = Prefix(Aws(REGION, cloud.url, Keys(cloud)), "bucket", "jobs/x")
    digest = prefix.put_file("server/results/r", io.BytesIO(body), SIZE, time.time() + 60)
    assert (digest, len(broken)) == (hashlib.sha256(body).hexdigest(), 1)
    assert signed == {"UNSIGNED-PAYLOAD"}
    found = cloud.client().get_object(Bucket="bucket", Key="jobs/x/server/results/r", ChecksumMode="ENABLED")
    assert found["Body"].read() == body
    assert found["ChecksumCRC32"].endswith("-3")
    assert found["ETag"] == etag_of_md5s(body)


@pytest.mark.parametrize("breaks", [False, True], ids=["whole", "damaged"])
def test_parts_of_an_input_are_compared_with_their_checksum(
    cloud: Cloud, body: bytes, tmp_path: Path, breaks: bool
) -> None:
    credentials = Credentials(cloud.key, Secret(cloud.secret))
    api = Api(
        Settings(
            REGION, tmp_path, NewestImage("x", ("amazon",)), lambda: "", endpoint_url=cloud.url, credentials=credentials
        )
    )
    # Damaged bytes would be sent again, and again.
    api.patience.seconds = 0.0
    signed: set[str] = set()

    def before(request: Any, **_: Any) -> None:
        signed.add(request.headers["X-Amz-Content-SHA256"].decode())
        if breaks and "partNumber=2" in request.url:
            request.body = io.BytesIO(damaged(request.body.read()))

    api._client("s3", "upload_part").meta.events.register("before-send.s3.UploadPart", before)
    store, blob = (
        BlobStore(api, "bucket"),
        Blob("data", hashlib.sha256(body).hexdigest(), SIZE, lambda: io.BytesIO(body)),
    )
    if breaks:
        with pytest.raises(Refused, match="BadDigest"):
            store.send(blob, lambda _: None)
    else:
        store.send(blob, lambda _: None)
        assert api.get("bucket", BLOBS + blob.sha256, SIZE) == body
        head = cloud.client().head_object(Bucket="bucket", Key=BLOBS + blob.sha256)
        assert head["ETag"].endswith('-3"')
        assert head["ETag"] == etag_of_md5s(body)
    assert store.missing([blob]) == ([blob] if breaks else [])
    assert api.uploads("bucket", BLOBS) == []
    assert signed == {"UNSIGNED-PAYLOAD"}
