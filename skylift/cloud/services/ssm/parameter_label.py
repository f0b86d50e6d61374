"""Labels of a parameter's versions.

https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-labels.html
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.parameter import ParameterVersion
from skylift.cloud.services.api.parameter_name import not_found, reference
from skylift.cloud.services.api.public_parameter import selected
from skylift.cloud.services.ssm.operation import writes
from skylift.cloud.services.ssm.parameter import on_names
from skylift.cloud.store.database import Tx
from skylift.cloud.store.parameter import labelled, parameter_named

if TYPE_CHECKING:
    from aws_shapes import ssm

MOST = 10
_LABEL = re.compile(r"(?!\d|aws|ssm)[A-Za-z0-9._-]{1,100}", re.IGNORECASE)


def label(tx: Tx, caller: Caller, params: ssm.LabelParameterVersionRequest) -> ssm.LabelParameterVersionResult:
    """A label that another version has moves here."""
    version = _version(tx, caller, params["Name"], params.get("ParameterVersion"))
    asked = list(dict.fromkeys(params["Labels"]))
    valid = [text for text in asked if _LABEL.fullmatch(text)]
    labels = tuple(dict.fromkeys((*version.labels, *valid)))
    if len(labels) > MOST:
        raise ServiceError(
            "ParameterVersionLabelLimitExceeded",
            f"A parameter version can have maximum {MOST} labels. Move one or more labels to another version and try "
            "again.",
        )
    for text in valid:
        before = labelled(tx, version.name, text)
        if before is not None and before.number != version.number:
            tx.save(replace(before, labels=tuple(one for one in before.labels if one != text)))
    tx.save(replace(version, labels=labels))
    return {"InvalidLabels": [text for text in asked if text not in valid], "ParameterVersion": version.number}


def unlabel(tx: Tx, caller: Caller, params: ssm.UnlabelParameterVersionRequest) -> ssm.UnlabelParameterVersionResult:
    version = _version(tx, caller, params["Name"], params["ParameterVersion"])
    asked = list(dict.fromkeys(params["Labels"]))
    tx.save(replace(version, labels=tuple(text for text in version.labels if text not in asked)))
    return {
        "RemovedLabels": [text for text in asked if text in version.labels],
        "InvalidLabels": [text for text in asked if text not in version.labels],
    }


def _version(tx: Tx, caller: Caller, name: str, number: int | None) -> ParameterVersion:
    """The newest, where there is no number."""
    wanted = reference(caller, name)
    parameter = None if wanted.selector else parameter_named(tx, wanted.name)
    if parameter is None:
        raise not_found(name)
    return selected(tx, parameter.name, str(parameter.latest if number is None else number))


OPERATIONS = (
    writes("LabelParameterVersion", label, "Name ParameterVersion Labels", on_names("LabelParameterVersion", "Name")),
    writes(
        "UnlabelParameterVersion", unlabel, "Name ParameterVersion Labels", on_names("UnlabelParameterVersion", "Name")
    ),
)
