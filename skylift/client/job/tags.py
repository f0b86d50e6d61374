"""The tags of a job: everything that is made for one carries them, and by them it is found again."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from skylift.client.job.job import NAME_FORM
from skylift.client.job.scheduled import run_of_tag, tag_values

TAG_JOB = "skylift:job"
TAG_CONFIGURATION = "skylift:configuration"
"""On kept servers: the next job must have the same value to use the server. It stays while the jobs change."""
TAG_WORKER = "skylift:worker"
"""This tag is on a map's other servers, which have no record, status or streams of their own."""
TAG_UNDELIVERED = "skylift:undelivered"
"""A server sets this tag before it asks to be stopped: its results are nowhere but on its disk."""
TAG_MARK = "skylift:mark"
"""What one call has made with a name: it is repeated when its answer was lost, and must know its own by this tag."""
_TAGS: dict[str, Callable[[str], str]] = {"Name": lambda job: f"skylift {job}", TAG_JOB: lambda job: job}
"""Every tag, and its value for a job. A tag that is added here is on everything, also on kept servers."""


def job_of(tags: Iterable[Mapping[str, str]]) -> str:
    """Which job a thing is of, by the tags that EC2 or IAM tell of it; empty for none: a tag may say anything."""
    found = next((tag["Value"] for tag in tags if tag["Key"] == TAG_JOB), "")
    return found if NAME_FORM.fullmatch(found) else run_of_tag(found)


def job_filter(job: str) -> dict[str, Any]:
    """EC2's filter for what is of one job."""
    return {"Name": f"tag:{TAG_JOB}", "Values": tag_values(job)}


def new_mark() -> dict[str, str]:
    return {"Key": TAG_MARK, "Value": secrets.token_hex(8)}


def job_tags(job: str) -> list[dict[str, str]]:
    """All of them, as EC2 and IAM take them. A thing gets them by the call that makes it, and anew when it goes on to
    another job."""
    return [{"Key": name, "Value": value(job)} for name, value in _TAGS.items()]
