"""The account's one skylift bucket in a region. It is private and has every job's record."""

from __future__ import annotations

from typing import Any

from skylift.client.errors import Refused, RunError
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import make_unless_there

_MISSING = {"404", "NoSuchBucket", "NotFound"}


def ensure_bucket(api: Api, name: str) -> None:
    try:
        api.call("s3", "head_bucket", Bucket=name)
    except Refused as error:
        if error.code in _MISSING:
            return _make_bucket(api, name)
        if error.code in {"403", "301"}:
            raise RunError(
                f"The bucket {name} exists, but this account may not use it ({error.code}).",
                "Its name is made of your account and region: another account has it, or your permissions lack it.",
            ) from None
        raise
    return None


def _make_bucket(api: Api, name: str) -> None:
    params: dict[str, Any] = {}
    if api.region != "us-east-1":  # S3 refuses this region as a constraint
        params["CreateBucketConfiguration"] = {"LocationConstraint": api.region}
    make_unless_there(api, "BucketAlreadyOwnedByYou", "s3", "create_bucket", Bucket=name, **params)
