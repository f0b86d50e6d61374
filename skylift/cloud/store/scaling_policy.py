"""Where scaling policies are kept; with its group a policy goes, and with a policy the alarms that were made for it."""

from __future__ import annotations

from skylift.cloud.domain.scaling_policy import ScalingPolicy
from skylift.cloud.store.mapping import table

table(ScalingPolicy, "scaling_policies", key=("group", "name"))
