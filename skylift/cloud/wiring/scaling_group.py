"""Gives the loop of Auto Scaling groups EC2's rules: what may be launched, and how."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from skylift.cloud.loops.autoscaling.scaling_group import ScalingGroupLoop
from skylift.cloud.services.autoscaling import scaling_launch, scaling_mixed
from skylift.cloud.services.autoscaling.recurrence import next_time
from skylift.cloud.services.ec2 import instance
from skylift.cloud.store.database import Database


def make_groups(database: Database, account: str, region: str, wake_in: Callable[[float], None]) -> ScalingGroupLoop:
    return ScalingGroupLoop(
        database=database,
        pools=partial(scaling_mixed.pools, region=region),
        launch=scaling_launch.by(account, region),
        end=instance.end,
        resolved=scaling_launch.resolved,
        next_time=next_time,
        wake_in=wake_in,
    )
