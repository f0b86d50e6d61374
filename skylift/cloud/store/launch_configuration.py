"""Where Auto Scaling's launch configurations are kept."""

from __future__ import annotations

from skylift.cloud.domain.launch_configuration import LaunchConfiguration
from skylift.cloud.store.mapping import table

table(LaunchConfiguration, "launch_configurations", key=("name",))
