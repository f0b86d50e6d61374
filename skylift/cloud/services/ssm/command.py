"""Run Command: SendCommand and CancelCommand.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.bucket import Bucket
from skylift.cloud.domain.command import Command, CommandInvocation, Target
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.operation import Check, Params
from skylift.cloud.services.api.parameter_name import invalid
from skylift.cloud.services.ssm import document
from skylift.cloud.services.ssm.command_view import view
from skylift.cloud.services.ssm.managed_instance import arn, managed_instances
from skylift.cloud.services.ssm.operation import writes
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ssm

DELIVERY = 3600
"""The default of seconds in which a server must be reached."""


def send(tx: Tx, caller: Caller, params: ssm.SendCommandRequest) -> ssm.SendCommandResult:
    version = params.get("DocumentVersion") or "$DEFAULT"
    name = document.document(caller, params["DocumentName"], version)
    parameters = params.get("Parameters") or {}
    given = document.inputs(name, parameters)
    servers = _servers(tx, caller, params)
    bucket = params.get("OutputS3BucketName", "")
    if bucket and tx.get(Bucket, name=bucket) is None:
        raise ServiceError("InvalidOutputFolder", f"The S3 bucket {bucket} does not exist.")
    timeout = params.get("TimeoutSeconds", DELIVERY)
    command = Command(
        id=str(uuid.uuid4()),
        document=name,
        document_version=version,
        parameters=parameters,
        requested=tx.now,
        expires=tx.now + timedelta(seconds=timeout + given.seconds),
        timeout=timeout,
        comment=params.get("Comment", ""),
        instance_ids=tuple(params.get("InstanceIds") or ()),
        targets=_targets(params),
        bucket=bucket,
        prefix=params.get("OutputS3KeyPrefix", ""),
        max_concurrency=params.get("MaxConcurrency", "50"),
        max_errors=params.get("MaxErrors", "0"),
    )
    tx.add(command)
    for server in servers:
        tx.add(CommandInvocation(command.id, server.id))
    return {"Command": view(tx, command)}


def cancel(tx: Tx, _caller: Caller, params: ssm.CancelCommandRequest) -> ssm.CancelCommandResult:
    """Cancel a command. Scripts that have not begun never do, the loop ends those that run, and ended ones stay
    unchanged."""
    invocations = tx.find(CommandInvocation, command_id=params["CommandId"])
    if tx.get(Command, id=params["CommandId"]) is None:
        raise ServiceError("InvalidCommandId", f"There is no command {params['CommandId']}.")
    wanted = params.get("InstanceIds") or [each.instance_id for each in invocations]
    _refuse_twice(wanted)
    known = {each.instance_id: each for each in invocations}
    if unknown := [each for each in wanted if each not in known]:
        raise ServiceError("InvalidInstanceId", f"The command was not sent to {', '.join(unknown)}.")
    for each in (known[instance_id] for instance_id in wanted):
        if each.status == "Pending":
            tx.save(replace(each, status="Cancelled", details="Cancelled"))
        elif each.status == "InProgress":
            tx.save(replace(each, status="Cancelling", details="Cancelling"))
    return {}


def _servers(tx: Tx, caller: Caller, params: ssm.SendCommandRequest) -> list[Instance]:
    """The servers that a request names. Raises InvalidInstanceId for one that is not managed."""
    ids, targets = params.get("InstanceIds") or [], _targets(params)
    if bool(ids) == bool(targets):
        raise invalid("Name the servers of a command: either by InstanceIds, or by Targets.")
    _refuse_twice(ids)
    managed = {each.id: each for each in managed_instances(tx, caller)}
    named = [*ids, *(value for target in targets if target.key == "InstanceIds" for value in target.values)]
    if unknown := [each for each in named if each not in managed]:
        raise ServiceError(
            "InvalidInstanceId", f"Instances [[{', '.join(unknown)}]] not in a valid state for account {caller.account}"
        )
    if ids:
        return [managed[each] for each in ids]
    return [each for each in managed.values() if all(_is_meant(each, target) for target in targets)]


def _refuse_twice(ids: list[str]) -> None:
    if len(set(ids)) < len(ids):
        raise ServiceError("DuplicateInstanceId", "An instance ID is there twice.")


def _targets(params: ssm.SendCommandRequest) -> tuple[Target, ...]:
    targets = tuple(_target(each) for each in params.get("Targets") or [])
    for target in targets:
        if target.key not in ("InstanceIds", "tag-key") and not target.key.startswith("tag:"):
            raise invalid(f"The target {target.key} is not supported here. There are InstanceIds, tag-key and tag:KEY.")
    return targets


def _target(asked: ssm.Target) -> Target:
    """AWS's own examples spell InstanceIds in lower case: awscli/examples/ssm/send-command.rst in aws/aws-cli."""
    key = asked.get("Key", "")
    return Target("InstanceIds" if key.lower() == "instanceids" else key, tuple(asked.get("Values", ())))


def _is_meant(instance: Instance, target: Target) -> bool:
    match target.key:
        case "InstanceIds":
            return instance.id in target.values
        case "tag-key":
            return any(value in instance.tags for value in target.values)
    return instance.tags.get(target.key.removeprefix("tag:")) in target.values


# What a caller must be allowed to do: to run this document, and on each of these servers.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html


def _sends(tx: Tx, caller: Caller, params: ssm.SendCommandRequest) -> Iterator[Check]:
    name = params["DocumentName"].removeprefix(f"arn:aws:ssm:{caller.region}::document/")
    yield Check("ssm:SendCommand", document.arn(caller, name))
    targets = [_target(each) for each in params.get("Targets") or []]
    meant = [each for each in tx.find(Instance) if targets and all(_is_meant(each, target) for target in targets)]
    ids = dict.fromkeys([*(params.get("InstanceIds") or []), *(each.id for each in meant)])
    for instance_id in ids:
        yield Check("ssm:SendCommand", arn(caller, instance_id))


def _cancels(_tx: Tx, caller: Caller, _params: Params) -> Iterator[Check]:
    yield Check("ssm:CancelCommand", f"arn:aws:ssm:{caller.region}:{caller.account}:*")


OPERATIONS = (
    writes(
        "SendCommand",
        send,
        # AWS ignores OutputS3Region.
        "InstanceIds Targets DocumentName DocumentVersion TimeoutSeconds Comment Parameters OutputS3Region "
        "OutputS3BucketName OutputS3KeyPrefix MaxConcurrency MaxErrors",
        _sends,
    ),
    writes("CancelCommand", cancel, "CommandId InstanceIds", _cancels),
)
