#!/usr/bin/env python3
"""Writes docs/coverage.md: per service, the operations that work and their parameters.

What works is the table of operations; what there is besides is AWS's own models, as botocore ships them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.table import TABLE
from skylift.cloud.wire.endpoint import SERVICES
from skylift.cloud.wire.models import load

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"

TITLES = {
    "autoscaling": "Auto Scaling",
    "cloudtrail": "CloudTrail",
    "cloudwatch": "CloudWatch",
    "ec2": "EC2",
    "ec2-instance-connect": "EC2 Instance Connect",
    "iam": "IAM",
    "s3": "S3",
    "s3control": "S3 Control",
    "scheduler": "EventBridge Scheduler",
    "service-quotas": "Service Quotas",
    "skylift": "The cloud itself",
    "ssm": "Systems Manager",
    "sts": "STS",
}

NOTES = {
    "autoscaling": """\
Groups are of launch templates, alone or in a mixed instances policy, or of launch configurations. An instance that is
not `running` any more is replaced at once, not at the next look; one may also be for the balance of zones, where the
maximum has room. There are no load balancers, warm pools, instance refreshes or notifications here: a lifecycle hook is
completed by who polls for it, or by the instance itself.
""",
    "cloudtrail": """\
The event history has the calls of EventBridge Scheduler that were refused, for ninety days, and nothing else. Of the
parameters of such a call it has the client token. A temporary failure is an event at each attempt.
""",
    "cloudwatch": """\
Spoken in the three protocols that its clients use: RPC v2 with CBOR (current SDKs), JSON, and the query protocol.
Values are summed up as they come, so that there are no percentiles; no expressions are evaluated. What is told is kept
as long as on AWS, two million points of it at most. Alarms may stop, reboot and terminate the instance of their
metric, and have scaling policies carried out; there is no SNS to tell somebody by. EC2's metrics are told every five
minutes, with detailed monitoring every ten seconds: each look is a sample of a sixth, so a minute adds up to AWS's one.
""",
    "s3": """\
A form with a file, sent to a bucket by POST (`generate_presigned_post`), is a PutObject too: signed in version 4 or 2,
or by nobody; with the conditions of its policy, `${filename}`, tags, and the answers that `success_action_status` and
`success_action_redirect` ask for. Objects keep their storage class; archived ones are read after RestoreObject.

Lifecycle rules are carried out each day after midnight UTC, and within a minute of being put: objects, noncurrent
versions, delete markers that are alone, and uploads in parts expire; objects and versions change their storage class.
""",
    "s3control": """\
Tags of buckets, as Terraform's AWS provider reads and writes them since its release 6.23. Clients put the account's
number before the endpoint's name, so that it must have one: `docs/clients.md` says how.
""",
    "scheduler": """\
A schedule invokes this cloud's own operations, as universal targets (`arn:aws:scheduler:::aws-sdk:ec2:runInstances`),
with the permissions of its role; `skylift/cloud/services/scheduler/target.py` lists them, and any other target is
refused. `Input` has the context attributes `<aws.scheduler.scheduled-time>`, `<aws.scheduler.execution-id>`,
`<aws.scheduler.attempt-number>` and `<aws.scheduler.schedule-arn>`. A target is invoked within a second of its time. Of
the times that pass while the cloud is down, the last is made up for; the cloud's log tells of invocations and failures.
There are no queues for dead letters: CloudTrail has what was refused, and why. CloudWatch has three metrics of each
group: `InvocationAttemptCount`, `TargetErrorCount` and `InvocationDroppedCount`.
""",
    "service-quotas": """\
The quotas of vCPUs that `skylift cloud quota` sets, and that launches are refused by, under AWS's codes (`L-1216C47A`).
A class of types that has none has no bound here: it answers `NoSuchResourceException`, and says how to set one.
""",
    "skylift": """\
What nobody can ask AWS for, in a service of this cloud's own: signed, and allowed by policies (`skylift:PutSpotPrice`),
like all others. `skylift cloud spot-price`, `capacity`, `quota` and `interrupt` call it. For other tools its model is
`skylift/cloud/models/skylift` in the package.
""",
    "ssm": """\
`SendCommand` runs AWS-RunShellScript as root on servers whose role lets Systems Manager manage them
(AmazonSSMManagedInstanceCore), without an agent. There are no other documents: a script whose first line is
`#!/usr/bin/env python3` is in Python. `{{ssm:NAME}}` inside of commands is refused, and an exit code of 194 (reboot,
and run again) is a failure. What a script leaves running in the background does not hold up its end. A server runs five
scripts at once, as the agent does by default; the next ones wait, until their command expires.

`SecureString` is refused: there is no KMS here to encrypt with. Policies and `AllowedPattern` are not there.

The public parameters of images are there for the usual names of Amazon Linux 2023 and 2
(`/aws/service/ami-amazon-linux-latest/...`), Debian 12 and 13 (`/aws/service/debian/release/...`) and Ubuntu 22.04 and
24.04 (`/aws/service/canonical/ubuntu/server/...`), for the processors that the cloud has an image for. **All of them
name the same local image**, a Debian 13 that stands in for what the name says. Its description says so too, and its
login user is `ec2-user`. `RunInstances` takes them, and parameters of your own, as `resolve:ssm:NAME`.
""",
    "sts": """\
AssumeRoleWithWebIdentity verifies ID tokens with keys that `skylift cloud issuer` was given: no issuer is asked.
""",
    "ec2-instance-connect": """\
The key opens the server for 60 seconds: its sshd asks the metadata service
(`meta-data/managed-ssh-keys/active-keys/USER`) after the user's own `authorized_keys`. It takes the default image, or
one made from it, and metadata that is not switched off.
""",
}

INTRODUCTION = """\
# What works of AWS's APIs

This page is generated by `scripts/coverage_page.py` from the table of operations and the models of botocore {botocore}.
An operation that is not here answers an error that names it, and so does a parameter that is not among those that work:
nothing is ignored. Some parameters can only ask for what is the case anyway, and refuse any other value by name. A
parameter like `Tags.Key` is the member `Key` of what is in `Tags`; one that stands whole works whole. `DryRun` of EC2
works wherever the model has it.

`scripts/recorded.py FOLDER...` compares this cloud's answers with answers that were recorded on AWS, member by member.
With cloud-custodian's recordings and LocalStack's snapshots of November 2026, 191 operations were compared. Of the
members that AWS was recorded with, 1,081 are there, 106 are left out on purpose, and 20 are lacking in a cloud that has
one of most things and no servers: most of these are of running servers and their snapshots. 110 operations were not
asked: they change what that cloud has none of, or are not here. Of 94 codes of errors, each is one that an error here
is made with, or is left out on purpose.
`scripts/recorded_left_out.toml` has the reasons.
"""


def page() -> str:
    by_service: dict[str, list[Operation]] = defaultdict(list)
    for operation in TABLE.values():
        by_service[operation.service].append(operation)
    parts = [INTRODUCTION.format(botocore=version("botocore"))]
    for service in SERVICES:
        parts += ["\n", *_section(service, by_service[service])]
    return "".join(parts)


def _section(service: str, operations: list[Operation]) -> Iterator[str]:
    yield f"## {TITLES[service]}\n\n"
    yield f"{len(operations)} operations of the model's {len(load(service).operation_names)}.\n\n"
    if service in NOTES:
        yield f"{NOTES[service]}\n"
    yield "| operation | parameters that work | refused by name |\n| --- | --- | --- |\n"
    for operation in sorted(operations, key=lambda each: each.name):
        yield row(operation)


def row(operation: Operation) -> str:
    works = {name for name in operation.takes if name != "DryRun"}
    shape = load(operation.service).operation(operation.name).input
    refused = list(_refused(operation, shape)) if shape is not None else []
    return f"| {operation.name} | {_words(sorted(works))} | {_words(refused)} |\n"


def _refused(operation: Operation, shape: Any, prefix: str = "") -> Iterator[str]:
    """What the model has and the operation does not take, by the highest name that covers nothing that works."""
    for name, member in shape.members.items():
        path = f"{prefix}{name}"
        if path in operation.takes:
            continue
        if any(taken.startswith(f"{path}.") for taken in operation.takes):
            yield from _refused(operation, _inner(member), f"{path}.")
        else:
            yield path


def _inner(shape: Any) -> Any:
    while shape.type_name == "list":
        shape = shape.member
    return shape


def _words(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
