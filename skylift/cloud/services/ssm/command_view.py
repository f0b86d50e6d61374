"""Run Command: commands, and their invocations on each server, as they are described.

https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from skylift.cloud.domain.command import UNFINISHED, Command, CommandInvocation, Status
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.operation import Answer, Check, Checks, Operation, Params
from skylift.cloud.services.api.page_token import Next, Paged, after, leads_to
from skylift.cloud.services.api.parameter_name import invalid
from skylift.cloud.services.ssm.document import PLUGIN, allowance, output_prefix
from skylift.cloud.services.ssm.operation import PAGES, reads
from skylift.cloud.services.ssm.parameter_page import NOT_VALID
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ssm

Item = TypeVar("Item")

PAGE = 50
LONGEST = 2500
"""The most characters of both outputs together in a list."""
_TITLE = "\n----------ERROR-------\n"
_CUT_OUT, _CUT_ERROR = "\n---Output truncated---", "\n---Error truncated----"
_FILTERS = "Filters.key Filters.value"


def list_commands(tx: Tx, _caller: Caller, params: ssm.ListCommandsRequest) -> ssm.ListCommandsResult:
    found = [
        (command, invocations)
        for command, invocations in _asked_for(tx, params)
        if _passes(params, command, status(command, invocations)[0])
    ]
    chosen, token = _page(params, found, lambda each: each[0].id)
    return {"Commands": [view(tx, command) for command, _ in chosen], **token}


def list_invocations(
    tx: Tx, caller: Caller, params: ssm.ListCommandInvocationsRequest
) -> ssm.ListCommandInvocationsResult:
    found = [
        (command, each)
        for command, invocations in _asked_for(tx, params)
        for each in invocations
        if params.get("InstanceId", each.instance_id) == each.instance_id and _passes(params, command, each.status)
    ]
    chosen, token = _page(params, found, lambda pair: f"{pair[0].id}/{pair[1].instance_id}")
    details = params.get("Details", False)
    return {"CommandInvocations": [_invocation(tx, caller, *pair, details=details) for pair in chosen], **token}


def get_invocation(tx: Tx, caller: Caller, params: ssm.GetCommandInvocationRequest) -> ssm.GetCommandInvocationResult:
    command = tx.get(Command, id=params["CommandId"])
    each = tx.get(CommandInvocation, command_id=params["CommandId"], instance_id=params["InstanceId"])
    if command is None or each is None:
        raise ServiceError(
            "InvocationDoesNotExist", f"There is no command {params['CommandId']} on {params['InstanceId']}."
        )
    if params.get("PluginName", PLUGIN) != PLUGIN:
        raise ServiceError("InvalidPluginName", f"{command.document} has no plugin but {PLUGIN}.")
    stdout_url, stderr_url = _urls(caller, command, each)
    ended = each.ended if each.begun else None
    return {
        "CommandId": command.id,
        "InstanceId": each.instance_id,
        "Comment": command.comment,
        "DocumentName": command.document,
        "DocumentVersion": command.document_version,
        "PluginName": PLUGIN,
        "ResponseCode": each.code,
        "ExecutionStartDateTime": _moment(each.begun),
        "ExecutionElapsedTime": _elapsed(each.begun, ended),
        "ExecutionEndDateTime": _moment(ended),
        "Status": each.status,
        "StatusDetails": each.details,
        "StandardOutputContent": each.stdout,
        "StandardOutputUrl": stdout_url,
        "StandardErrorContent": each.stderr,
        "StandardErrorUrl": stderr_url,
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
    }


def view(tx: Tx, command: Command) -> ssm.Command:
    invocations = tx.find(CommandInvocation, command_id=command.id)
    overall, details = status(command, invocations)
    return {
        "CommandId": command.id,
        "DocumentName": command.document,
        "DocumentVersion": command.document_version,
        "Comment": command.comment,
        "ExpiresAfter": command.expires,
        "Parameters": command.parameters,
        "InstanceIds": list(command.instance_ids),
        "Targets": [{"Key": target.key, "Values": list(target.values)} for target in command.targets],
        "RequestedDateTime": command.requested,
        "Status": overall,
        "StatusDetails": details,
        "OutputS3BucketName": command.bucket,
        "OutputS3KeyPrefix": command.prefix,
        "MaxConcurrency": command.max_concurrency,
        "MaxErrors": command.max_errors,
        "TargetCount": len(invocations),
        "CompletedCount": sum(each.status not in UNFINISHED for each in invocations),
        "ErrorCount": sum(each.status == "Failed" or each.details == "ExecutionTimedOut" for each in invocations),
        "DeliveryTimedOutCount": sum(each.details == "DeliveryTimedOut" for each in invocations),
        "ServiceRole": "",
        "NotificationConfig": {"NotificationArn": "", "NotificationEvents": []},
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
        "TimeoutSeconds": command.timeout,
    }


def status(command: Command, invocations: list[CommandInvocation]) -> tuple[Status, str]:
    """The status of a command as a whole. Failures within `max_errors` make it `Incomplete`, not `Failed`."""
    if not invocations:
        return "Success", "NoInstancesInTag"
    states = {each.status for each in invocations}
    if "Cancelling" in states:
        return "Cancelling", "Cancelling"
    if states == {"Pending"}:
        return "Pending", "Pending"
    if states & set(UNFINISHED):
        return "InProgress", "InProgress"
    if states == {"Success"}:
        return "Success", "Success"
    bound = allowance(command.max_errors, len(invocations))
    for state, details in (("Failed", "Failed"), ("TimedOut", "ExecutionTimedOut"), ("TimedOut", "DeliveryTimedOut")):
        if sum(each.status == state and details in (each.details, "Failed") for each in invocations) > bound:
            return ("Failed", details) if state == "Failed" else ("TimedOut", details)
    if "Cancelled" in states:
        return "Cancelled", "Cancelled"
    return "Failed", "Incomplete"


def _asked_for(
    tx: Tx, params: ssm.ListCommandsRequest | ssm.ListCommandInvocationsRequest
) -> Iterator[tuple[Command, list[CommandInvocation]]]:
    """The newest first."""
    if "CommandId" in params:
        commands = tx.find(Command, id=params["CommandId"])
        if not commands:
            raise ServiceError("InvalidCommandId", f"There is no command {params['CommandId']}.")
    else:
        commands = list(reversed(tx.find(Command)))
    instance_id = params.get("InstanceId")
    for command in commands:
        invocations = tx.find(CommandInvocation, command_id=command.id)
        if instance_id is None or any(each.instance_id == instance_id for each in invocations):
            yield command, invocations


def _passes(params: ssm.ListCommandsRequest | ssm.ListCommandInvocationsRequest, command: Command, state: str) -> bool:
    return all(_matches(each["key"], each["value"], command, state) for each in params.get("Filters") or [])


def _matches(key: str, value: str, command: Command, state: str) -> bool:
    match key:
        case "InvokedAfter":
            return command.requested >= _parsed(value)
        case "InvokedBefore":
            return command.requested < _parsed(value)
        case "Status":
            return state == value
        case "ExecutionStage":
            return ("Executing" if state in UNFINISHED else "Complete") == value
    return command.document == value


def _parsed(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{text!r} is no time. A filter's is like 2026-07-01T21:23:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _page(params: Paged, found: list[Item], key: Callable[[Item], str]) -> tuple[list[Item], Next]:
    """A list begins with the newest, so that what a token names is looked for."""
    start = after(params, NOT_VALID)
    keys = [key(each) for each in found]
    if start and start not in keys:
        raise ServiceError("InvalidNextToken", NOT_VALID)
    first = keys.index(start) + 1 if start else 0
    size = params.get("MaxResults", PAGE)
    chosen = found[first : first + size]
    return chosen, leads_to(key(chosen[-1])) if first + size < len(found) else {}


def _invocation(
    tx: Tx, caller: Caller, command: Command, each: CommandInvocation, *, details: bool
) -> ssm.CommandInvocation:
    instance = tx.get(Instance, id=each.instance_id)
    stdout_url, stderr_url = _urls(caller, command, each)
    return {
        "CommandId": command.id,
        "InstanceId": each.instance_id,
        "InstanceName": instance.tags.get("Name", "") if instance else "",
        "Comment": command.comment,
        "DocumentName": command.document,
        "DocumentVersion": command.document_version,
        "RequestedDateTime": command.requested,
        "Status": each.status,
        "StatusDetails": each.details,
        "StandardOutputUrl": stdout_url,
        "StandardErrorUrl": stderr_url,
        "CommandPlugins": [_plugin(caller, command, each)] if details else [],
        "ServiceRole": "",
        "NotificationConfig": {"NotificationArn": "", "NotificationEvents": []},
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
    }


def _plugin(caller: Caller, command: Command, each: CommandInvocation) -> ssm.CommandPlugin:
    stdout_url, stderr_url = _urls(caller, command, each)
    return {
        "Name": PLUGIN,
        "Status": "InProgress" if each.status == "Cancelling" else each.status,
        "StatusDetails": each.details,
        "ResponseCode": each.code,
        "Output": together(each.stdout, each.stderr),
        "StandardOutputUrl": stdout_url,
        "StandardErrorUrl": stderr_url,
        "OutputS3Region": caller.region,
        "OutputS3BucketName": command.bucket,
        "OutputS3KeyPrefix": command.prefix,
        **({"ResponseStartDateTime": each.begun} if each.begun else {}),
        **({"ResponseFinishDateTime": each.ended} if each.begun and each.ended else {}),
    }


def together(stdout: str, stderr: str) -> str:
    """Both outputs as a list has them.

    https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/framework/processor/executer/iohandler/iohandler.go
    (TruncateOutput)
    """
    title = _TITLE if stderr else ""
    room = LONGEST - len(title)
    if len(stdout) + len(stderr) < room:
        return stdout + title + stderr
    if len(stdout) > room // 2 and len(stderr) > room // 2:
        half = (room - len(_CUT_ERROR) - len(_CUT_OUT)) // 2
        return stdout[:half] + _CUT_OUT + title + stderr[:half] + _CUT_ERROR
    if len(stdout) <= room // 2:
        return stdout + title + stderr[: room - len(_CUT_ERROR) - len(stdout)] + _CUT_ERROR
    return stdout[: room - len(_CUT_OUT) - len(stderr)] + _CUT_OUT + title + stderr


def _urls(caller: Caller, command: Command, each: CommandInvocation) -> tuple[str, str]:
    if not command.bucket:
        return "", ""
    where = f"https://s3.{caller.region}.amazonaws.com/{command.bucket}/{output_prefix(command, each.instance_id)}"
    return f"{where}/stdout", f"{where}/stderr"


def _moment(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else ""


def _elapsed(begun: datetime | None, ended: datetime | None) -> str:
    if begun is None or ended is None:
        return ""
    return f"PT{(ended - begun).total_seconds():.3f}".rstrip("0").rstrip(".") + "S"


def _checks(action: str) -> Checks:
    return lambda _tx, caller, _params: [Check(f"ssm:{action}", f"arn:aws:ssm:{caller.region}:{caller.account}:*")]


def _unsettled(_params: Params, answer: Answer) -> bool:
    """Its waiter looks once, and then sleeps for five seconds."""
    return answer.get("Status") in UNFINISHED


OPERATIONS = (
    reads("ListCommands", list_commands, f"CommandId InstanceId {_FILTERS} {PAGES}", _checks("ListCommands")),
    reads(
        "ListCommandInvocations",
        list_invocations,
        f"CommandId InstanceId Details {_FILTERS} {PAGES}",
        _checks("ListCommandInvocations"),
    ),
    Operation(
        "ssm",
        "GetCommandInvocation",
        get_invocation,
        frozenset(("CommandId", "InstanceId", "PluginName")),
        _checks("GetCommandInvocation"),
        writes=False,
        unsettled=_unsettled,
    ),
)
