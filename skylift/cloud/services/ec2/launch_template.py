"""Launch templates: made, described, changed and deleted. Their versions stand in launch_template_version.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.launch_template import LaunchTemplate, LaunchTemplateVersion, TemplateName
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.client_token import remember, result_of
from skylift.cloud.services.api.condition_key import of_change
from skylift.cloud.services.api.ec2_operation import PAGES, acts_on, makes, reads, writes
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.operation import Check, Checks
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.refusal import combination, invalid, missing, refuse_other_values
from skylift.cloud.services.api.resource import new_id, require
from skylift.cloud.services.api.tag import tag_list, tags_for
from skylift.cloud.services.ec2.launch_neutral import NEUTRAL
from skylift.cloud.services.ec2.launch_parameter import TEMPLATE, TEMPLATE_DATA
from skylift.cloud.services.ec2.user_data import user_data
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

LIMITS = Limits(most=200, least=1)
MAX_DESCRIPTION = 255

Item = dict[str, Any]


def create(tx: Tx, caller: Caller, params: ec2.CreateLaunchTemplateRequest) -> ec2.CreateLaunchTemplateResult:
    made_before = result_of(tx, "CreateLaunchTemplate", params)
    if made_before:
        return {"LaunchTemplate": view(tx, require(tx, LaunchTemplate, made_before))}
    template = LaunchTemplate(
        id=new_id("lt"),
        name=_free_name(tx, params["LaunchTemplateName"]),
        created=tx.now,
        created_by=caller.arn,
        tags=tags_for(params, "launch-template"),
    )
    tx.add(template)
    tx.add(new_version(tx, caller, template, 1, params))
    remember(tx, "CreateLaunchTemplate", params, template.id)
    return {"LaunchTemplate": view(tx, template)}


def describe(tx: Tx, _caller: Caller, params: ec2.DescribeLaunchTemplatesRequest) -> ec2.DescribeLaunchTemplatesResult:
    ids, names = params.get("LaunchTemplateIds"), params.get("LaunchTemplateNames")
    if ids and names:
        raise combination("Launch templates are asked for by ID or by name, not both.")
    asked: list[TemplateName] = [{"LaunchTemplateId": one} for one in ids or []]
    asked += [{"LaunchTemplateName": one} for one in names or []]
    rows = [template_of(tx, one) for one in asked] if asked else tx.find(LaunchTemplate)
    items = [view(tx, row) for row in rows]
    paths = {"create-time": "CreateTime", "launch-template-name": "LaunchTemplateName"}
    found = matching(items, params.get("Filters"), paths, tags="Tags")
    shown = page(found, params, lambda item: str(item["LaunchTemplateId"]), LIMITS)
    return {"LaunchTemplates": shown.items, **shown.next}


def modify(tx: Tx, _caller: Caller, params: ec2.ModifyLaunchTemplateRequest) -> ec2.ModifyLaunchTemplateResult:
    made_before = result_of(tx, "ModifyLaunchTemplate", params)
    if made_before:
        return {"LaunchTemplate": view(tx, require(tx, LaunchTemplate, made_before))}
    template = template_of(tx, params)
    wanted = params.get("DefaultVersion")
    if not wanted:
        raise missing("DefaultVersion")
    changed = replace(template, default_number=version_of(tx, template, wanted).number)
    tx.save(changed)
    remember(tx, "ModifyLaunchTemplate", params, template.id)
    return {"LaunchTemplate": view(tx, changed)}


def delete(tx: Tx, _caller: Caller, params: ec2.DeleteLaunchTemplateRequest) -> ec2.DeleteLaunchTemplateResult:
    template = template_of(tx, params)
    shown = view(tx, template)
    tx.remove(template)
    return {"LaunchTemplate": shown}


def view(tx: Tx, template: LaunchTemplate) -> ec2.LaunchTemplate:
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "CreateTime": template.created,
        "CreatedBy": template.created_by,
        "DefaultVersionNumber": template.default_number,
        "LatestVersionNumber": latest(tx, template),
        "Tags": tag_list(template.tags),
    }


def template_of(tx: Tx, asked: TemplateName) -> LaunchTemplate:
    """The template that a request names by `LaunchTemplateId` or `LaunchTemplateName`."""
    template_id, name = asked.get("LaunchTemplateId"), asked.get("LaunchTemplateName")
    if template_id and name:
        raise combination("A launch template is named by LaunchTemplateId or LaunchTemplateName, not by both.")
    if template_id:
        return require(tx, LaunchTemplate, template_id)
    if not name:
        raise missing("LaunchTemplateId")
    found = tx.get(LaunchTemplate, name=name)
    if found is None:
        raise ServiceError(
            "InvalidLaunchTemplateName.NotFoundException",
            f"The specified launch template, with template name {name}, does not exist.",
        )
    return found


def version_of(tx: Tx, template: LaunchTemplate, wanted: str) -> LaunchTemplateVersion:
    """A version by its number, `$Latest` or `$Default`."""
    if wanted == "$Latest":
        number = latest(tx, template)
    elif wanted == "$Default":
        number = template.default_number
    elif is_number(wanted):
        number = int(wanted)
    else:
        raise invalid(f"Invalid launch template version: '{wanted}'. It has to be a number, $Latest or $Default.")
    found = tx.get(LaunchTemplateVersion, template_id=template.id, number=number)
    if found is None:
        raise ServiceError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find the specified version {wanted} for the launch template with ID {template.id}.",
        )
    return found


def data_of(version: LaunchTemplateVersion) -> ec2.ResponseLaunchTemplateData:
    """A version's data. The one moment that it may have is text in the store."""
    data = cast("ec2.ResponseLaunchTemplateData", version.data)
    market = data.get("InstanceMarketOptions") or {}
    options = market.get("SpotOptions") or {}
    kept: object = options.get("ValidUntil")
    if not isinstance(kept, str):
        return data
    until = datetime.fromisoformat(kept)
    return {**data, "InstanceMarketOptions": {**market, "SpotOptions": {**options, "ValidUntil": until}}}


def is_number(text: str) -> bool:
    """Whether a text can be the number of a version."""
    return re.fullmatch("[0-9]{1,18}", text) is not None


def latest(tx: Tx, template: LaunchTemplate) -> int:
    return max(version.number for version in tx.find(LaunchTemplateVersion, template_id=template.id))


def new_version(
    tx: Tx,
    caller: Caller,
    template: LaunchTemplate,
    number: int,
    params: ec2.CreateLaunchTemplateRequest | ec2.CreateLaunchTemplateVersionRequest,
    source: Item | None = None,
) -> LaunchTemplateVersion:
    """The version that a request describes; members that it does not have come from the `source` version's data."""
    description = params.get("VersionDescription", "")
    if len(description) > MAX_DESCRIPTION:
        raise invalid(f"The description of a version has at most {MAX_DESCRIPTION} characters.")
    data = params["LaunchTemplateData"]
    refuse_other_values(data, NEUTRAL)
    if not data and source is None:
        raise ServiceError(
            "MissingParameter",
            "No launch template data was provided. Launch template data is required to create a launch template.",
        )
    user_data(data.get("UserData"))
    return LaunchTemplateVersion(
        template_id=template.id,
        number=number,
        description=description,
        created=tx.now,
        created_by=caller.arn,
        data={**(source or {}), **data},
    )


def on_template(action: str) -> Checks:
    """Operations on the template that `LaunchTemplateId` or `LaunchTemplateName` names."""
    return lambda tx, caller, params: [check_of(tx, caller, action, params)]


def _check_modify(tx: Tx, caller: Caller, params: ec2.ModifyLaunchTemplateRequest) -> Iterator[Check]:
    check = check_of(tx, caller, "ec2:ModifyLaunchTemplate", params)
    yield replace(check, context=of_change(params, "LaunchTemplateId", "LaunchTemplateName"))


def check_of(tx: Tx, caller: Caller, action: str, asked: TemplateName) -> Check:
    named = tx.get(LaunchTemplate, name=asked["LaunchTemplateName"]) if asked.get("LaunchTemplateName") else None
    template_id = named.id if named else asked.get("LaunchTemplateId") or "*"
    return on_row(tx, caller, action, LaunchTemplate, template_id)


def _free_name(tx: Tx, name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9()./_-]{3,128}", name) is None:
        raise ServiceError(
            "InvalidLaunchTemplateName.MalformedException",
            "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the "
            "following characters: - ( ) . / _",
        )
    if tx.get(LaunchTemplate, name=name) is not None:
        raise ServiceError(
            "InvalidLaunchTemplateName.AlreadyExistsException", f"Launch template name already in use: {name}"
        )
    return name


OPERATIONS = (
    makes(
        "CreateLaunchTemplate",
        create,
        f"LaunchTemplateName VersionDescription ClientToken TagSpecifications {TEMPLATE_DATA}",
        "launch-template",
    ),
    reads(
        "DescribeLaunchTemplates", describe, f"LaunchTemplateIds LaunchTemplateNames IncludeManagedResources {PAGES}"
    ),
    writes("ModifyLaunchTemplate", modify, f"{TEMPLATE} DefaultVersion ClientToken", _check_modify),
    acts_on("DeleteLaunchTemplate", delete, TEMPLATE, on_template),
)
