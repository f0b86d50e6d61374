"""Files that another program needs to use a cluster: its certificates, and the variables that Dask reads."""

from __future__ import annotations

import os
from pathlib import Path

from skylift.client.dask.authority import Identity


def write_client_files(folder: Path, identity: Identity) -> dict[str, str]:
    """Write a client's certificates and return the variables that name them. Only the user may read the key, which lets
    whoever has it run code on the cluster."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    texts = {"ca.pem": identity.authority, "cert.pem": identity.certificate, "key.pem": identity.key}
    for name, text in texts.items():
        path = folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    place = folder.absolute()
    return {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(place / "ca.pem"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(place / "cert.pem"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": str(place / "key.pem"),
    }
