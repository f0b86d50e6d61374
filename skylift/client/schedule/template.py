"""The launch templates of a schedule: that of its runs, and that of their other servers."""

from __future__ import annotations

from typing import Any

from skylift.client.job.record import workers_of_schedule
from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone
from skylift.client.schedule.requests import TAG_SCHEDULE, template_name


def make_template(api: Api, request: dict[str, Any]) -> str:
    """Make it and return its id. `remove_templates` is the undo."""
    return str(api.call("ec2", "create_launch_template", **request)["LaunchTemplate"]["LaunchTemplateId"])


def find_template(api: Api, schedule: str) -> str | None:
    """The id of the template of its runs."""
    found = _templates(api, schedule, template_name(schedule))
    return found[0] if found else None


def remove_templates(api: Api, schedule: str) -> None:
    for each in _templates(api, schedule, template_name(schedule), workers_of_schedule(schedule)):
        end_unless_gone(api, ".*NotFound.*", "ec2", "delete_launch_template", LaunchTemplateId=each)


def _templates(api: Api, schedule: str, *names: str) -> list[str]:
    """The ids of templates with the schedule's tag and one of these names."""
    filters = [
        {"Name": f"tag:{TAG_SCHEDULE}", "Values": [schedule]},
        {"Name": "launch-template-name", "Values": list(names)},
    ]
    found = api.pages("ec2", "describe_launch_templates", "LaunchTemplates", Filters=filters)
    return [str(each["LaunchTemplateId"]) for each in found]
