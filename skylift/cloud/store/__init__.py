"""The state of one cloud. Importing the package declares where every noun is kept."""

from skylift.cloud.store import (
    bucket,
    connect,
    dedicated_host,
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
    usage,
    volume,
    vpc_endpoint,
)

__all__ = [
    "bucket",
    "connect",
    "dedicated_host",
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
    "usage",
    "volume",
    "vpc_endpoint",
]
