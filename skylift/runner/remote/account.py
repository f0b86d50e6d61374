"""The account and region that jobs run in, and the bucket with their records."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.runner.errors import JobNotFound, Refused
from skylift.runner.job.job import NAME_FORM
from skylift.runner.job.record import RECORD_LIMIT, Prefix, Record, bucket_name, parse_record
from skylift.runner.job.server_record import STATUS_LIMIT, Status, parse_status
from skylift.runner.job.settings import Settings
from skylift.runner.remote.api import Api


@dataclass(frozen=True)
class Account:
    api: Api
    settings: Settings
    number: str
    bucket: str

    def record(self, job: str) -> Record:
        """The job's record, as its client has written it. Raises JobNotFound, RecordDamaged."""
        found = self.api.get(self.bucket, Prefix(job).record, RECORD_LIMIT) if NAME_FORM.fullmatch(job) else None
        if found is None:
            raise JobNotFound(f"There is no job called {job!r}.", "See `skylift ps --all`.")
        return parse_record(Prefix(job).record, found)

    def recorded(self) -> list[str]:
        """The names of all jobs that have a record."""
        try:
            found = self.api.pages(
                "s3", "list_objects_v2", "CommonPrefixes", Bucket=self.bucket, Prefix="jobs/", Delimiter="/"
            )
        except Refused as error:
            if error.code == "NoSuchBucket":
                return []  # nothing ever ran here
            raise
        names = (str(each["Prefix"]).split("/")[1] for each in found)
        return [each for each in names if NAME_FORM.fullmatch(each)]

    def status(self, job: str) -> Status | None:
        """The job's status as its server has reported it last; None before the first. Raises RecordDamaged."""
        key = Prefix(job).status
        found = self.api.get(self.bucket, key, STATUS_LIMIT)
        return None if found is None else parse_status(key, found)

    def forget_secrets(self, job: str) -> None:
        """Delete the values of --env of a job that has ended without its server."""
        self.api.call("s3", "delete_object", Bucket=self.bucket, Key=Prefix(job).env)


def open_account(settings: Settings, api: Api | None = None) -> Account:
    """The account of these settings. STS is asked for its number when the settings do not have it."""
    api = api or Api(settings)
    number = settings.account or str(api.call("sts", "get_caller_identity")["Account"])
    return Account(api, settings, number, bucket_name(number, settings.region))
