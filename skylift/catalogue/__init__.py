"""EC2's instance types and their prices, as files of the package. No AWS call is needed for any of it.

The figures stand in csv files beside this one, which `scripts/make_catalogue.py` makes; docs/catalogue.md says where
each of them comes from and of which day it is. A price that no source gives is None: nothing here is estimated.
"""

from skylift.catalogue.instance_type import Accelerators, Disks, InstanceType
from skylift.catalogue.price import (
    HOURS_A_YEAR,
    PAYMENTS,
    dedicated,
    on_demand,
    priced_regions,
    reserved,
    savings_plan,
    sources,
    spot,
)
from skylift.catalogue.refreshed import refreshed_folder, use
from skylift.catalogue.source import Source
from skylift.catalogue.table import types

__all__ = [
    "HOURS_A_YEAR",
    "PAYMENTS",
    "Accelerators",
    "Disks",
    "InstanceType",
    "Source",
    "dedicated",
    "on_demand",
    "priced_regions",
    "refreshed_folder",
    "reserved",
    "savings_plan",
    "sources",
    "spot",
    "types",
    "use",
]
