# /// script
# requires-python = ">=3.11"
# dependencies = ["humanize>=4.9"]
# ///
"""A script that names what it needs (PEP 723): skylift makes that environment on the server with uv."""

import os
import shutil
import time
from datetime import timedelta

import humanize

uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
print(f"{os.cpu_count()} processors, {humanize.naturalsize(shutil.disk_usage('/').free, binary=True)} of disk free")
print(f"the machine below has been up for {humanize.naturaldelta(timedelta(seconds=uptime))}")
