"""EC2's instance types and their prices, as files of the package. No AWS call is needed for any of it.

The figures stand in csv files beside this one, which `scripts/make_catalogue.py` makes; docs/catalogue.md says where
each of them comes from and of which day it is. A price that no source gives is None: nothing here is estimated.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skylift.catalogue.instance_type import Accelerators, InstanceStore, InstanceType
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
    "InstanceStore",
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

if not TYPE_CHECKING:
    _FILES = {
        **dict.fromkeys(("Accelerators", "InstanceStore", "InstanceType"), "instance_type"),
        **dict.fromkeys(("refreshed_folder", "use"), "refreshed"),
        "Source": "source",
        "types": "table",
    }
    """Where each name is from; the others are from `price.py`."""

    def __getattr__(name: str) -> Any:
        """What is asked for is imported then: most commands say where figures are, and ask for none."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(f"{__name__}.{_FILES.get(name, 'price')}"), name)
        return found
