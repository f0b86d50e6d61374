"""The account and region that jobs run in, and the bucket with their records."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from skylift.client.errors import JobNotFound, RecordDamaged, Refused
from skylift.client.job.job import NAME_FORM
from skylift.client.job.record import INDEX, SCHEDULES, JobKeys, bucket_name, parse_record
from skylift.client.job.scheduled import SCHEDULE_FORM, parse_run
from skylift.client.job.server_record import parse_status
from skylift.client.job.settings import Settings
from skylift.client.remote.api import Api
from skylift.contract.record import RECORD_LIMIT, JobRecord
from skylift.contract.status import STATUS_LIMIT, Status


@dataclass(frozen=True)
class Account:
    api: Api
    settings: Settings
    number: str
    bucket: str

    def record(self, job: str) -> JobRecord:
        """The job's record, as its client has written it. That of a schedule's run is the schedule's: servers write no
        records. Raises JobNotFound, RecordDamaged."""
        found = self.api.get(self.bucket, JobKeys(job).record, RECORD_LIMIT) if NAME_FORM.fullmatch(job) else None
        if found is not None:
            return parse_record(JobKeys(job).record, found)
        run = parse_run(job)
        of_all = None if run is None else self.schedule(run[0])
        if run is None or of_all is None:
            raise JobNotFound(f"There is no job called {job!r}.", "See `skylift ps --all`.")
        return of_all.of_run(job, run[1].timestamp())

    def schedule(self, name: str) -> JobRecord | None:
        """The record of a schedule, None when there is none. Raises RecordDamaged."""
        key = JobKeys(name, SCHEDULES).record
        found = self.api.get(self.bucket, key, RECORD_LIMIT)
        if found is None:
            return None
        record = parse_record(key, found)
        if record.schedule is None:
            raise RecordDamaged(key, "it has no `schedule`")
        return record

    def scheduled(self) -> list[str]:
        """The names of all schedules that have anything in the bucket."""
        return [each for each in self._below(f"{SCHEDULES}/") if SCHEDULE_FORM.fullmatch(each)]

    def recorded(self, beginning: str = "") -> list[str]:
        """The names of all jobs that have a record, and that begin so."""
        return [each for each in self._below(f"jobs/{beginning}") if NAME_FORM.fullmatch(each)]

    def has_record(self, job: str) -> bool:
        """Also one that cannot be read."""
        with suppress(RecordDamaged):
            try:
                self.record(job)
            except JobNotFound:
                return False
        return True

    def submitted(self) -> dict[str, float]:
        """When jobs were submitted, in seconds since the epoch. Runs of schedules are not in the index, nor are jobs of
        earlier versions; a job that is gone may be, if whoever removed it was killed."""
        found = self._listed("Contents", Prefix=INDEX)
        return {str(each["Key"]).removeprefix(INDEX): each["LastModified"].timestamp() for each in found}

    def remove(self, job: str) -> int:
        """Delete all that there is of a job in the bucket, its record last. Returns the number of objects."""
        prefix = JobKeys(job)
        count = self.api.delete_below(self.bucket, f"{prefix.base}/", last=prefix.record)
        self.api.call("s3", "delete_object", Bucket=self.bucket, Key=f"{INDEX}{job}")
        return count

    def _below(self, prefix: str) -> list[str]:
        found = self._listed("CommonPrefixes", Prefix=prefix, Delimiter="/")
        return [str(each["Prefix"]).split("/")[1] for each in found]

    def _listed(self, key: str, **asked: str) -> list[Any]:
        try:
            return self.api.pages("s3", "list_objects_v2", key, Bucket=self.bucket, **asked)
        except Refused as error:
            if error.code == "NoSuchBucket":
                return []  # nothing ever ran here
            raise

    def status(self, job: str) -> Status | None:
        """The job's status as its server has reported it last; None before the first. Raises RecordDamaged."""
        key = JobKeys(job).status
        found = self.api.get(self.bucket, key, STATUS_LIMIT)
        return None if found is None else parse_status(key, found)

    def forget_secrets(self, job: str) -> None:
        """Delete the values of --env of a job that has ended without its server."""
        self.api.call("s3", "delete_object", Bucket=self.bucket, Key=JobKeys(job).env)


def who_calls(settings: Settings) -> str:
    """The ARN of the user or role that these settings' credentials are of. A role's sessions are all the same."""
    arn = str(Api(settings).call("sts", "get_caller_identity")["Arn"])
    return arn.rpartition("/")[0] if ":assumed-role/" in arn else arn


def open_account(settings: Settings, api: Api | None = None) -> Account:
    """The account of these settings. STS is asked for its number when the settings do not have it."""
    api = api or Api(settings)
    number = settings.account or str(api.call("sts", "get_caller_identity")["Account"])
    return Account(api, settings, number, bucket_name(number, settings.region))
