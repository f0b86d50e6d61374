"""Where launch templates are kept."""

from __future__ import annotations

from skylift.cloud.domain.launch_template import LaunchTemplate, LaunchTemplateVersion
from skylift.cloud.store.mapping import table

table(LaunchTemplate, "launch_templates", key=("id",))
table(LaunchTemplateVersion, "launch_template_versions", key=("template_id", "number"))
