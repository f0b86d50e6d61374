"""The mount that an open file is in, by the kernel's mount id.

Ids are unique on a machine, across all mount namespaces, and a mount stays while a file in it is open. A path proves
nothing: a file in another namespace has that namespace's path.
"""

from __future__ import annotations

import os


def mount_of(descriptor: int) -> int:
    file = os.open("/proc/self/fdinfo/%d" % descriptor, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.read(file, 4096)
    finally:
        os.close(file)
    return int(found.partition(b"mnt_id:")[2].split(None, 1)[0])
