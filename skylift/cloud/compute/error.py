"""The errors of compute: what the kernel or a program refused, in words for a state reason or the log.

ComputeError
+-- ServerError     compute/server/server.py
+-- RootfsError     compute/server/rootfs.py
+-- NetworkError    compute/network/error.py
+-- DiskError       compute/disk/disk.py
+-- NotRemoved      compute/disk/removal.py
+-- CaptureFailed   compute/image/image_from_disk.py
"""

from __future__ import annotations


class ComputeError(Exception):
    """Compute could not do what it was asked to. Loops note it, and try again where that can help."""
