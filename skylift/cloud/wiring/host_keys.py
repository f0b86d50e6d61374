"""A new server's SSH host keys, which are among its first files. Made here they take a tenth of a millisecond, and
reach the disk together with the others. Where they are missing, init makes them.
"""

from __future__ import annotations

from skylift.cloud.compute.server.rootfs import SeedFile
from skylift.cloud.services.api.key_material import make_host_keys


def host_keys(server_id: str, hostname: str) -> tuple[SeedFile, ...]:
    """The keys, and a note that tells init which instance they belong to."""
    files = []
    for kind, (private, public) in make_host_keys(f"root@{hostname}").items():
        place = f"/etc/ssh/ssh_host_{kind}_key"
        files += [SeedFile(place, private.encode(), mode=0o600), SeedFile(f"{place}.pub", public.encode())]
    return (*files, SeedFile("/var/lib/cloud/data/host-keys", f"{server_id}\n".encode()))
