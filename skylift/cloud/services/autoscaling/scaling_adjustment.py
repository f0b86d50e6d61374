"""How many instances a policy asks for. Pure.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html
"""

from __future__ import annotations

import math

from skylift.cloud.domain.scaling_policy import ScalingPolicy, Step


def adjusted(policy: ScalingPolicy, capacity: int, adjustment: int) -> int:
    """The capacity that an adjustment makes of another."""
    match policy.adjustment_type:
        case "ExactCapacity":
            return adjustment
        case "PercentChangeInCapacity":
            if not adjustment:
                return capacity
            change = _whole(capacity * adjustment / 100)
            least = policy.min_magnitude or 0
            return capacity + (max(change, least) if adjustment > 0 else min(change, -least))
        case _:
            return capacity + adjustment


def step_for(policy: ScalingPolicy, distance: float, *, low: bool = False) -> Step | None:
    """The step for a metric that is so far from its threshold: its near end belongs to a step, its far end does not.

    What is exactly at the threshold is near to a step on either side; the one below comes first where `low` says that
    low values are the breach.
    """
    sides = [distance < 0] if distance else [low, not low]
    for below in sides:
        for step in policy.steps:
            lower = -math.inf if step.lower is None else step.lower
            upper = math.inf if step.upper is None else step.upper
            if lower < distance <= upper if below else lower <= distance < upper:
                return step
    return None


def tracked(policy: ScalingPolicy, capacity: int, value: float) -> int:
    """Scale in proportion to the metric's distance from its target, rounded up, so that a scale-in never overshoots."""
    # The quotient of two floats may be a hair above a whole number.
    return math.ceil(round(capacity * value / policy.target, 9))


def _whole(change: float) -> int:
    """Towards none, but never to none."""
    if change == 0:
        return 0
    return math.trunc(change) or (1 if change > 0 else -1)
