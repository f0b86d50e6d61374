"""AWS as the place where jobs run: whose account and which region is for boto3 to find out, by its own rules."""

from __future__ import annotations

import ipaddress
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from skylift.client.errors import Unreachable, UsageError
from skylift.client.job.cache import NOWHERE, Cache
from skylift.client.job.image_choice import DEFAULT, PUBLISHED
from skylift.client.job.settings import Settings
from skylift.client.remote.api import default_region

_CHECK_IP = "https://checkip.amazonaws.com/"
"""AWS's own service that returns a caller's public address; no other party learns of it."""


def aws_settings(key_dir: Path, cache: Cache = NOWHERE, region: str | None = None) -> Settings:
    """In this region, or in that which boto3 finds."""
    region = region or default_region()
    if region is None:
        raise UsageError(
            "No AWS region is set.", "Set AWS_DEFAULT_REGION, or `region` in the profile (`aws configure`)."
        )
    return Settings(
        region=region, key_dir=key_dir, image=PUBLISHED[DEFAULT], caller_address=public_address, cache=cache
    )


def public_address() -> str:
    """The IPv4 address that AWS sees this machine's requests come from."""
    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
    try:
        with urllib.request.urlopen(_CHECK_IP, timeout=10, context=context) as answer:
            return str(ipaddress.IPv4Address(answer.read(64).decode().strip()))
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise Unreachable(
            f"The public address of this machine cannot be determined: {_CHECK_IP}: {error}",
            "Give it with --ssh-from ADDRESS, or use --private with --subnet: output comes through S3 then.",
        ) from None
