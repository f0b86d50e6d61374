"""Every operation there is, by service and name. All others are refused by name.

An operation's row stands below its handler, in the OPERATIONS of its file; the table of each folder gathers them.
"""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.autoscaling import table as autoscaling
from skylift.cloud.services.cloudwatch import table as cloudwatch
from skylift.cloud.services.ebs import table as ebs
from skylift.cloud.services.ec2 import table as ec2
from skylift.cloud.services.iam import table as iam
from skylift.cloud.services.market import table as market
from skylift.cloud.services.quotas import table as quotas
from skylift.cloud.services.s3 import table as s3
from skylift.cloud.services.scheduler import table as scheduler
from skylift.cloud.services.ssm import table as ssm
from skylift.cloud.services.sts import table as sts
from skylift.cloud.services.vpc import table as vpc

OPERATIONS: tuple[Operation, ...] = (
    *autoscaling.OPERATIONS,
    *cloudwatch.OPERATIONS,
    *ebs.OPERATIONS,
    *ec2.OPERATIONS,
    *iam.OPERATIONS,
    *market.OPERATIONS,
    *quotas.OPERATIONS,
    *s3.OPERATIONS,
    *scheduler.OPERATIONS,
    *ssm.OPERATIONS,
    *sts.OPERATIONS,
    *vpc.OPERATIONS,
)

TABLE: dict[tuple[str, str], Operation] = {(operation.service, operation.name): operation for operation in OPERATIONS}
