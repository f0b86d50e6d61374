"""Where the facts about this cloud are kept."""

from __future__ import annotations

from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.store.mapping import table

table(CloudFacts, "cloud_facts", key=("account",), read_often=True)
