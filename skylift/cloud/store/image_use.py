"""Finds out whether anything in the store needs an image."""

from __future__ import annotations

from skylift.cloud.domain.instance import Image
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import TABLES


def is_named(tx: Tx, image: str) -> bool:
    """By an instance, a launch template, a group, whatever it is: anywhere but among images themselves."""
    for table in TABLES.values():
        if table.noun is not Image:
            somewhere = " OR ".join(f'instr("{column}", ?1)' for column in table.columns)
            if tx.execute(f"SELECT 1 FROM {table.name} WHERE {somewhere} LIMIT 1", image).fetchone():  # noqa: S608
                return True
    return False
