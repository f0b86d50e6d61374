"""The state of one cloud. Importing the package declares where every noun is kept."""

from skylift.cloud.store import (
    bucket,
    connect,
    facts,
    fleet,
    identity,
    instance,
    launch_template,
    market,
    network,
    parameter,
    placement_group,
    reservation,
    scaling_group,
    usage,
    volume,
    vpc_endpoint,
)

__all__ = [
    "bucket",
    "connect",
    "facts",
    "fleet",
    "identity",
    "instance",
    "launch_template",
    "market",
    "network",
    "parameter",
    "placement_group",
    "reservation",
    "scaling_group",
    "usage",
    "volume",
    "vpc_endpoint",
]
