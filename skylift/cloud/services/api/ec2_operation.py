"""How a row of EC2's tables is made: what it takes, what it needs permission for, and `DryRun` wherever AWS has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.check import creates, on
from skylift.cloud.services.api.operation import Checks, Handler, Operation, Params, Unsettled, on_all, unprepared
from skylift.cloud.store.database import Tx

T = TypeVar("T")

PAGES = "Filters MaxResults NextToken"

_NO_DRY_RUN = frozenset(
    {
        "ModifyVpcAttribute",
        "ModifySubnetAttribute",
        "AssociateIamInstanceProfile",
        "ReplaceIamInstanceProfileAssociation",
        "DisassociateIamInstanceProfile",
        "DescribeIamInstanceProfileAssociations",
        "AssociateVpcCidrBlock",
        "DisassociateVpcCidrBlock",
        "AssignPrivateIpAddresses",
        "UnassignPrivateIpAddresses",
        "ModifyInstancePlacement",
        "AllocateHosts",
        "DescribeHosts",
        "ModifyHosts",
        "ReleaseHosts",
    }
)
"""The model has no DryRun for these."""


def _dry_runnable(handler: Callable[[Tx, Caller, Any], T]) -> Callable[[Tx, Caller, Any], T]:
    """With `DryRun` all steps run up to the commit, which the error prevents."""

    def handle(tx: Tx, caller: Caller, params: Params) -> T:
        result = handler(tx, caller, params)
        if params.get("DryRun"):
            raise ServiceError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)
        return result

    return handle


def _operation(
    name: str, handler: Handler, takes: str, checks: Checks, *, writes: bool, unsettled: Unsettled | None = None
) -> Operation:
    accepted = frozenset(takes.split()) | (frozenset() if name in _NO_DRY_RUN else {"DryRun"})
    return Operation("ec2", name, _dry_runnable(handler), accepted, checks, writes, unsettled=unsettled)


def reads(
    name: str, handler: Handler, takes: str, checks: Checks | None = None, unsettled: Unsettled | None = None
) -> Operation:
    checks = checks or on_all(f"ec2:{name}")
    return _operation(name, handler, takes, checks, writes=False, unsettled=unsettled)


def writes(name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return _operation(name, handler, takes, checks, writes=True)


def prepares(
    name: str, prepare: Callable[[Tx, Caller, Any], Handler | Iterable[Handler]], takes: str, checks: Checks
) -> Operation:
    """As `writes`, of what `prepare` checks whole; see Operation.prepare."""
    return replace(writes(name, unprepared, takes, checks), prepare=_dry_runnable(prepare))


def acts(name: str, handler: Handler, takes: str, *members: str) -> Operation:
    """An operation on the resources that these of its parameters name."""
    return writes(name, handler, takes, on(f"ec2:{name}", *members))


def acts_on(name: str, handler: Handler, takes: str, checks: Callable[[str], Checks]) -> Operation:
    """An operation on what its parameters name in a way of their own, which `checks` of an action know."""
    return writes(name, handler, takes, checks(f"ec2:{name}"))


def makes(name: str, handler: Handler, takes: str, resource_type: str, *members: str) -> Operation:
    """An operation that makes one resource of a type, in or from those that these of its parameters name."""
    return writes(name, handler, takes, creates(name, resource_type, *members))


def shows(name: str, handler: Handler, takes: str, *members: str) -> Operation:
    """A read of the resources that these of its parameters name."""
    return reads(name, handler, takes, on(f"ec2:{name}", *members))
