"""The state of one cloud. Importing the package declares where every noun is kept."""

from skylift.cloud.store import (  # noqa: F401 - importing them is what declares
    account,
    alarm,
    bucket,
    command,
    connect,
    fleet,
    identity,
    instance,
    market,
    network,
    parameter,
    scaling_group,
    schedule,
    usage,
    volume,
)
