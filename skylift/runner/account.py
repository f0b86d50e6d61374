"""The account and region that jobs run in, and the bucket there that holds their records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from skylift.runner.ec2 import Api
from skylift.runner.errors import JobNotFound, Refused
from skylift.runner.job import NAME_FORM, Settings
from skylift.runner.record import Prefix, bucket_name


@dataclass(frozen=True)
class Account:
    api: Api
    settings: Settings
    number: str
    bucket: str

    def record(self, job: str) -> dict[str, Any]:
        """What was asked for. Raises JobNotFound."""
        found = self.api.get(self.bucket, Prefix(job).record) if NAME_FORM.fullmatch(job) else None
        if found is None:
            raise JobNotFound(f"There is no job called {job!r}.", "See `skylift ps --all`.")
        record: dict[str, Any] = json.loads(found)
        return record

    def recorded(self) -> list[str]:
        """The names of all jobs that there ever were and that nobody has forgotten."""
        try:
            found = self.api.pages(
                "s3", "list_objects_v2", "CommonPrefixes", Bucket=self.bucket, Prefix="jobs/", Delimiter="/"
            )
        except Refused as error:
            if error.code == "NoSuchBucket":
                return []  # nothing ever ran here
            raise
        return [str(each["Prefix"]).split("/")[1] for each in found]

    def status(self, job: str) -> dict[str, Any]:
        """How far it is, as its server last told; empty before that."""
        found = self.api.get(self.bucket, Prefix(job).status)
        status: dict[str, Any] = json.loads(found) if found else {}
        return status

    def forget_secrets(self, job: str) -> None:
        """The values of --env of a job that has ended without its server."""
        self.api.call("s3", "delete_object", Bucket=self.bucket, Key=Prefix(job).env)


def open_account(settings: Settings, api: Api | None = None) -> Account:
    """STS is asked for the number where the settings do not have it."""
    api = api or Api(settings)
    number = settings.account or str(api.call("sts", "get_caller_identity")["Account"])
    return Account(api, settings, number, bucket_name(number, settings.region))
