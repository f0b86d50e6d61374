"""Every operation there is, by service and name. All others are refused by name.

An operation's row stands below its handler, in the OPERATIONS of its file.
"""

from __future__ import annotations

from importlib import import_module

from skylift.cloud.services.api.operation import Operation

FILES = {
    "autoscaling": """
        empty_listings launch_configuration scaling_activity scaling_group scaling_hook scaling_instance scaling_metric
        scaling_policy scaling_schedule scaling_tag
    """,
    "cloudwatch": "alarm alarm_history metric metric_data",
    "ebs": "snapshot snapshot_attribute snapshot_making volume volume_attachment volume_change volume_making",
    "ec2": """
        connect credit dedicated_host empty_listings image image_attribute image_lifecycle image_making
        image_registration instance instance_attribute instance_requirement instance_type keypair launch
        launch_template launch_template_version metadata_defaults monitoring placement_group profile_association
        region tagging
    """,
    "iam": """
        access_key account account_alias credential_report empty_listings entity_policy group instance_profile
        issuer_keys login_profile mfa_device oidc_provider password_policy policy role service_credential
        service_linked_role simulation user
    """,
    "market": "bill fleet fleet_view interruption market_setting reserved spot_history spot_request",
    "quotas": "quota",
    "s3": """
        bucket bucket_policy bucket_setting cors empty_listings lifecycle object object_copy object_list object_tag
        resource_tag storage_class upload upload_completion version_list
    """,
    "scheduler": "event_history group schedule",
    "ssm": "command command_view managed_instance parameter parameter_label parameter_put",
    "sts": "authorization_message session web_identity",
    "vpc": """
        address dhcp_options gateway interface interface_address interface_attachment interface_attribute
        interface_making nat_gateway nat_gateway_address network_acl peering prefix_list route security_group
        security_group_edit security_group_use subnet vpc vpc_cidr vpc_endpoint
    """,
}
"""The files with rows, by their folder. A test finds those that are missing."""

OPERATIONS: tuple[Operation, ...] = tuple(
    row
    for folder, files in FILES.items()
    for file in files.split()
    for row in import_module(f"skylift.cloud.services.{folder}.{file}").OPERATIONS
)

TABLE: dict[tuple[str, str], Operation] = {(operation.service, operation.name): operation for operation in OPERATIONS}
