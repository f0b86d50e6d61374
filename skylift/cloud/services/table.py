"""Every operation there is, by service and name. What does not stand here is refused by name."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.autoscaling.autoscaling_table import AUTOSCALING_OPERATIONS
from skylift.cloud.services.autoscaling.scaling_policy_table import SCALING_POLICY_OPERATIONS
from skylift.cloud.services.cloudwatch.cloudwatch_table import CLOUDWATCH_OPERATIONS
from skylift.cloud.services.ec2.table import EC2_OPERATIONS
from skylift.cloud.services.iam.identity_table import IDENTITY_OPERATIONS
from skylift.cloud.services.market.commitment_table import COMMITMENT_OPERATIONS
from skylift.cloud.services.market.control_table import CONTROL_OPERATIONS
from skylift.cloud.services.market.fleet_table import FLEET_OPERATIONS
from skylift.cloud.services.market.spot_table import SPOT_OPERATIONS
from skylift.cloud.services.s3.table import S3_OPERATIONS
from skylift.cloud.services.ssm.ssm_table import SSM_OPERATIONS

OPERATIONS: tuple[Operation, ...] = (
    *AUTOSCALING_OPERATIONS,
    *CLOUDWATCH_OPERATIONS,
    *COMMITMENT_OPERATIONS,
    *CONTROL_OPERATIONS,
    *EC2_OPERATIONS,
    *FLEET_OPERATIONS,
    *IDENTITY_OPERATIONS,
    *S3_OPERATIONS,
    *SCALING_POLICY_OPERATIONS,
    *SPOT_OPERATIONS,
    *SSM_OPERATIONS,
)

TABLE: dict[tuple[str, str], Operation] = {(operation.service, operation.name): operation for operation in OPERATIONS}
