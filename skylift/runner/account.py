"""The account and region that jobs run in, and the bucket there that holds their records."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.runner.ec2 import Api
from skylift.runner.job import Settings
from skylift.runner.record import bucket_name


@dataclass(frozen=True)
class Account:
    api: Api
    settings: Settings
    number: str
    bucket: str


def open_account(settings: Settings, api: Api | None = None) -> Account:
    """STS is asked for the number where the settings do not have it."""
    api = api or Api(settings)
    number = settings.account or str(api.call("sts", "get_caller_identity")["Account"])
    return Account(api, settings, number, bucket_name(number, settings.region))
