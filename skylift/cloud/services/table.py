"""Every operation there is, by service and name. What does not stand here is refused by name."""

from __future__ import annotations

from skylift.cloud.services.autoscaling_table import AUTOSCALING_OPERATIONS
from skylift.cloud.services.cloudwatch_table import CLOUDWATCH_OPERATIONS
from skylift.cloud.services.commitment_table import COMMITMENT_OPERATIONS
from skylift.cloud.services.control_table import CONTROL_OPERATIONS
from skylift.cloud.services.ec2_table import EC2_OPERATIONS
from skylift.cloud.services.fleet_table import FLEET_OPERATIONS
from skylift.cloud.services.identity_table import IDENTITY_OPERATIONS
from skylift.cloud.services.operation import Operation
from skylift.cloud.services.s3_table import S3_OPERATIONS
from skylift.cloud.services.scaling_policy_table import SCALING_POLICY_OPERATIONS
from skylift.cloud.services.spot_table import SPOT_OPERATIONS
from skylift.cloud.services.ssm_table import SSM_OPERATIONS

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
