"""The launch template of a schedule."""

from __future__ import annotations

from typing import Any

from skylift.runner.errors import Refused
from skylift.runner.remote.api import Api
from skylift.runner.schedule.requests import TAG_SCHEDULE, template_name


def make_template(api: Api, request: dict[str, Any]) -> str:
    """Make it and return its id. `remove_template` is the undo."""
    return str(api.call("ec2", "create_launch_template", **request)["LaunchTemplate"]["LaunchTemplateId"])


def find_template(api: Api, schedule: str) -> str | None:
    """The id of the template with the schedule's tag and name."""
    filters = [
        {"Name": f"tag:{TAG_SCHEDULE}", "Values": [schedule]},
        {"Name": "launch-template-name", "Values": [template_name(schedule)]},
    ]
    found = api.pages("ec2", "describe_launch_templates", "LaunchTemplates", Filters=filters)
    return str(found[0]["LaunchTemplateId"]) if found else None


def remove_template(api: Api, schedule: str) -> None:
    found = find_template(api, schedule)
    if found is not None:
        try:
            api.call("ec2", "delete_launch_template", LaunchTemplateId=found)
        except Refused as error:
            if "NotFound" not in error.code:
                raise
