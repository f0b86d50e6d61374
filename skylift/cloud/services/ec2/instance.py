"""Instances after their launch: described, stopped, started, ended and forgotten."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NotRequired, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Console, FailedCheck, Instance, State
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.domain.spot import SpotNotice
from skylift.cloud.services.api.ec2_operation import PAGES, reads, shows
from skylift.cloud.services.api.facts import gets_public_ip, take_public_ip
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.refusal import refuse_other_values
from skylift.cloud.services.api.resource import require, require_all
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.services.api.zone import zone_id
from skylift.cloud.services.ec2.instance_view import FILTERS, InstanceContext, reservation, state, view
from skylift.cloud.services.ec2.placement_group import refuse_without_room, room_of
from skylift.cloud.services.ec2.spot_power import refuse_start, refuse_stop
from skylift.cloud.services.ec2.tagging import acts_in_turns
from skylift.cloud.services.ec2.tenancy import berth_again
from skylift.cloud.store.database import Tx
from skylift.cloud.store.instance import forget_ended, forget_tokens_of_the_gone

if TYPE_CHECKING:
    from aws_shapes import ec2

    class _Listed(ec2.Instance):
        """An instance with what filters ask about its reservation."""

        ReservationId: NotRequired[str]
        OwnerId: NotRequired[str]


REMEMBERED = timedelta(hours=1)
"""DescribeInstances shows a terminated instance for this long."""
FORGOTTEN_AT_ONCE = 100
"""The most instances that are forgotten in one transaction, while others wait to write."""

LIMITS = Limits(not_with=("InstanceIds", "instancesSet"))

LISTING = Listing(
    Instance,
    ids="InstanceIds",
    key="InstanceId",
    limits=LIMITS,
    columns={
        "client-token": "client_token",
        "image-id": "image_id",
        "instance-id": "id",
        "instance-state-name": "state",
        "instance-type": "type",
        "reservation-id": "reservation_id",
    },
)
"""Terminated instances are described for an hour: most who ask for others name the state."""

STATUSES = Listing(
    Instance,
    ids="InstanceIds",
    key="InstanceId",
    tags="",
    limits=LIMITS,
    filters={
        **same_named("availability-zone availability-zone-id instance-status.status system-status.status"),
        **same_named("code description instance-event-id not-after not-before not-before-deadline", "event", "Events"),
        "instance-state-code": "InstanceState.Code",
        "instance-state-name": "InstanceState.Name",
        "instance-status.reachability": "InstanceStatus.Details.Status",
        "system-status.reachability": "SystemStatus.Details.Status",
    },
)

STOP_NEUTRAL: dict[str, tuple[object, ...]] = {"Hibernate": (False,)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeInstancesRequest) -> ec2.DescribeInstancesResult:
    rows = LISTING.rows(tx, params)
    context = InstanceContext.of(tx, caller, rows)
    items: list[_Listed] = [
        {**view(row, context), "ReservationId": row.reservation_id, "OwnerId": caller.account} for row in rows
    ]
    found = matching(items, params.get("Filters"), FILTERS, tags="Tags")
    shown = page(found, params, lambda item: str(item["InstanceId"]), LIMITS)
    reservations: dict[str, list[ec2.Instance]] = {}
    for item in shown.items:
        del item["OwnerId"]
        reservations.setdefault(item.pop("ReservationId"), []).append(cast("ec2.Instance", item))
    together = [reservation(members, name, caller.account) for name, members in reservations.items()]
    return {"Reservations": together, **shown.next}


def describe_status(
    tx: Tx, _caller: Caller, params: ec2.DescribeInstanceStatusRequest
) -> ec2.DescribeInstanceStatusResult:
    rows = STATUSES.rows(tx, params)
    if not params.get("IncludeAllInstances"):
        rows = [row for row in rows if row.state == "running"]
    shown = STATUSES.page(params, [_status(row) for row in rows])
    return {"InstanceStatuses": shown.items, **shown.next}


def terminate(tx: Tx, _caller: Caller, params: ec2.TerminateInstancesRequest) -> ec2.TerminateInstancesResult:
    def by_request(instance: Instance) -> Instance:
        if instance.state in ("shutting-down", "terminated"):
            return instance
        if instance.termination_protected:
            raise _protected(instance, "terminated", "disableApiTermination")
        if instance.stop_protected:
            # Ending a server would stop it, so that this protects from both.
            raise _protected(instance, "terminated", "disableApiStop")
        return _ending(tx, instance, forced=_without_shutdown(params))

    return {"TerminatingInstances": _change(tx, params["InstanceIds"], by_request)}


def end(tx: Tx, instance_id: str, *, forced: bool = False) -> None:
    """Terminate an instance, whatever protects it from TerminateInstances. Nothing happens to one that ends already."""
    instance = tx.get(Instance, id=instance_id)
    if instance is not None and instance.state not in ("shutting-down", "terminated"):
        tx.save(_ending(tx, instance, forced=forced))


def _ending(tx: Tx, instance: Instance, *, forced: bool) -> Instance:
    shutting_down = replace(instance, desired="terminated", state="shutting-down", rebooting=False, forced=forced)
    return _by_user(tx, shutting_down)


def stop(tx: Tx, _caller: Caller, params: ec2.StopInstancesRequest) -> ec2.StopInstancesResult:
    refuse_other_values(params, STOP_NEUTRAL)

    def halt(instance: Instance) -> Instance:
        if instance.state == "stopping" and _without_shutdown(params):
            return replace(instance, forced=True)
        if instance.state in ("stopping", "stopped"):
            return instance
        if instance.state != "running":
            raise _wrong_state(instance, "stopped")
        if instance.stop_protected:
            raise _protected(instance, "stopped", "disableApiStop")
        refuse_stop(tx, instance)
        stopping = replace(instance, desired="stopped", state="stopping", rebooting=False)
        return _by_user(tx, replace(stopping, forced=_without_shutdown(params)))

    return {"StoppingInstances": _change(tx, params["InstanceIds"], halt)}


def start(tx: Tx, _caller: Caller, params: ec2.StartInstancesRequest) -> ec2.StartInstancesResult:
    """A start that asks for a public address gets another one than before."""

    def begin(instance: Instance) -> Instance:
        if instance.state in ("pending", "running"):
            return instance
        if instance.state != "stopped":
            raise _wrong_state(instance, "started")
        room = room_of(tx, instance)
        if room is not None:
            refuse_without_room(room, 1)
        refuse_start(tx, instance)
        return started(tx, berth_again(tx, instance))

    return {"StartingInstances": _change(tx, params["InstanceIds"], begin)}


def started(tx: Tx, instance: Instance) -> Instance:
    """A stopped instance that is to run again. Notices that it was given before are void."""
    for notice in tx.find(SpotNotice, instance_id=instance.id):
        tx.remove(notice)
    for interface in tx.find(NetworkInterface, instance_id=instance.id):
        if interface.public_ip is None and gets_public_ip(tx, interface):
            tx.save(replace(interface, public_ip=take_public_ip(tx)))
    return replace(
        instance,
        desired="running",
        state="pending",
        launched=tx.now,
        ended=None,
        state_reason_code="",
        state_reason="",
        transition_reason="",
    )


def ended_by(tx: Tx, instance: Instance, target: Literal["stopped", "terminated"], reason: tuple[str, str]) -> Instance:
    """An instance that EC2 itself stops or ends; `reason` is the state reason's code and words."""
    code, words = reason
    return replace(
        instance,
        desired=target,
        state="stopping" if target == "stopped" else "shutting-down",
        rebooting=False,
        state_reason_code=code,
        state_reason=f"{code}: {words}",
        transition_reason=f"Service initiated ({tx.now:%Y-%m-%d %H:%M:%S} GMT)",
    )


def reboot(tx: Tx, _caller: Caller, params: ec2.RebootInstancesRequest) -> Nothing:
    """The state stays `running`, and so do the addresses. Instances that have ended are passed over."""

    def again(instance: Instance) -> Instance:
        if instance.state in ("shutting-down", "terminated"):
            return instance
        if instance.state != "running":
            raise ServiceError("IncorrectState", f"The instance '{instance.id}' is not in the 'running' state.")
        return replace(instance, rebooting=True)

    _change(tx, params["InstanceIds"], again)
    return {}


def console_output(tx: Tx, _caller: Caller, params: ec2.GetConsoleOutputRequest) -> ec2.GetConsoleOutputResult:
    """Always the latest there is, whether `Latest` is asked for or not."""
    instance = require(tx, Instance, params["InstanceId"])
    console = tx.console(instance.id) or tx.get(Console, instance_id=instance.id)
    if console is None:
        return {"InstanceId": instance.id, "Timestamp": tx.now}
    return {
        "InstanceId": instance.id,
        "Timestamp": console.at,
        "Output": base64.b64encode(console.text.encode()).decode(),
    }


def password_data(tx: Tx, _caller: Caller, params: ec2.GetPasswordDataRequest) -> ec2.GetPasswordDataResult:
    """The administrator's password of a Windows server: empty for others."""
    instance = require(tx, Instance, params["InstanceId"])
    return {"InstanceId": instance.id, "Timestamp": tx.now, "PasswordData": ""}


def forget_terminated(tx: Tx) -> bool:
    """Drop instances that ended an hour ago, some at a time, and then the client tokens that led to them. Returns
    whether there may be more of them."""
    if forget_ended(tx, tx.now - REMEMBERED, FORGOTTEN_AT_ONCE) == FORGOTTEN_AT_ONCE:
        return True
    forget_tokens_of_the_gone(tx)
    return False


def _change(tx: Tx, ids: list[str], changed: Callable[[Instance], Instance]) -> list[ec2.InstanceStateChange]:
    """All of the named instances or, where one cannot be changed, none."""
    changes: list[ec2.InstanceStateChange] = []
    for before in require_all(tx, Instance, ids):
        after = changed(before)
        if after is not before:
            tx.save(after)
        changes.append(
            # In this order, as on AWS: libcloud takes the first state that it finds.
            {"InstanceId": before.id, "CurrentState": state(after.state), "PreviousState": state(before.state)}
        )
    return changes


def _by_user(tx: Tx, instance: Instance) -> Instance:
    """State reasons as DescribeInstances documents them (StateReason, StateTransitionReason)."""
    return replace(
        instance,
        state_reason_code="Client.UserInitiatedShutdown",
        state_reason="Client.UserInitiatedShutdown: User initiated shutdown",
        transition_reason=f"User initiated ({tx.now:%Y-%m-%d %H:%M:%S} GMT)",
    )


def _without_shutdown(params: ec2.StopInstancesRequest | ec2.TerminateInstancesRequest) -> bool:
    """Whether the operating system is not to be asked to shut down first."""
    return bool(params.get("Force") or params.get("SkipOsShutdown"))


def _protected(instance: Instance, what: str, attribute: str) -> ServiceError:
    return ServiceError(
        "OperationNotPermitted",
        f"The instance '{instance.id}' may not be {what}. Modify its '{attribute}' instance attribute and try again.",
    )


def _wrong_state(instance: Instance, wanted: str) -> ServiceError:
    return ServiceError(
        "IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be {wanted}."
    )


def _status(instance: Instance) -> ec2.InstanceStatus:
    return {
        "InstanceId": instance.id,
        "AvailabilityZone": instance.zone,
        "AvailabilityZoneId": zone_id(instance.zone),
        "InstanceState": state(instance.state),
        "InstanceStatus": _summary(instance.state, instance.instance_check),
        "SystemStatus": _summary(instance.state, instance.system_check),
        "Events": [],
    }


def _summary(name: State, failed: FailedCheck | None) -> ec2.InstanceStatusSummary:
    if name != "running":
        return {"Status": "not-applicable"}
    if failed is not None:
        detail: ec2.InstanceStatusDetails = {"Name": "reachability", "Status": "failed", "ImpairedSince": failed.since}
        return {"Status": "impaired", "Details": [detail]}
    return {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]}


OPERATIONS = (
    reads(
        "DescribeInstances",
        describe,
        f"InstanceIds IncludeManagedResources {PAGES}",
        unsettled=in_transition(
            "InstanceIds", ("Reservations.Instances.State.Name", "pending", "stopping", "shutting-down")
        ),
    ),
    reads(
        "DescribeInstanceStatus", describe_status, f"InstanceIds IncludeAllInstances IncludeManagedResources {PAGES}"
    ),
    acts_in_turns("TerminateInstances", terminate, Instance, "InstanceIds", "Force SkipOsShutdown"),
    acts_in_turns("StopInstances", stop, Instance, "InstanceIds", "Hibernate Force SkipOsShutdown"),
    acts_in_turns("RebootInstances", reboot, Instance, "InstanceIds"),
    acts_in_turns("StartInstances", start, Instance, "InstanceIds"),
    shows("GetPasswordData", password_data, "InstanceId", "InstanceId"),
    shows("GetConsoleOutput", console_output, "InstanceId Latest", "InstanceId"),
)
