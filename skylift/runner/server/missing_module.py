"""Says how a missing module gets to the server, after a Python program has failed for want of it."""

from __future__ import annotations

import re
from typing import Any, Dict

TAIL = 4096
"""Bytes at the end of the program's errors that are looked at."""

_LAST_LINE = re.compile(r"ModuleNotFoundError: No module named '([A-Za-z_]\w{0,99})(?:\.[\w.]*)?'", re.ASCII)
_PACKAGES = {
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Packages that have another name than the module that they bring. All others are taken to have the same."""


def how_to_have_module(errors: bytes, environment: Dict[str, Any]) -> str:
    """Lines for the job's outcome, each at most 80 columns wide for names of usual length. Empty when the program did
    not end by this error. `errors` is the end of what it wrote, `environment` as in the record."""
    lines = errors.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    found = _LAST_LINE.fullmatch(last)
    if found is None:
        return ""
    module = found[1]
    package, kind = _PACKAGES.get(module, module), environment["kind"]
    if kind == "project":
        return "The project's environment has no module %s. Its package is added by: uv add %s" % (module, package)
    if kind == "requirements":
        listed = environment["path"], package
        return "The environment has no module %s. Its package belongs in %s: %s" % (module, *listed)
    if kind == "script":
        how = 'Its package belongs in the list at the top of the script: "%s"' % package
    else:
        how = 'To have its package, begin the script with\n  # /// script\n  # dependencies = ["%s"]\n  # ///'
        how %= package
    return "The server has no module %s. %s\nA module of your own goes along with --in %s.py" % (module, how, module)
