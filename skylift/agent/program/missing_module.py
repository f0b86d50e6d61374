"""Says how a missing module gets to the server, after a Python program has failed for want of it."""

from __future__ import annotations

import re

from skylift.contract.record import Environment

TAIL = 4096
"""Bytes at the end of the program's errors that are looked at."""

_LAST_LINE = re.compile(r"ModuleNotFoundError: No module named '([A-Za-z_]\w{0,99})(?:\.[\w.]*)?'", re.ASCII)
_SAME_NAME = (
    "boto3 click dask distributed django duckdb fastapi flask httpx jax lxml matplotlib networkx numba numpy openpyxl "
    "pandas plotly polars psycopg pyarrow pydantic pytest redis requests rich scipy seaborn sqlalchemy sympy "
    "tensorflow torch tqdm transformers typer xarray xgboost"
)
_PACKAGES = {
    **{name: name for name in _SAME_NAME.split()},
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
"""The packages of well-known modules. No other is named: anybody may have registered a package of a module's name."""


def how_to_have_module(errors: bytes, environment: Environment) -> str:
    """Lines for the job's outcome, each at most 80 columns wide for names of usual length. Empty when the program did
    not end by this error. `errors` is the end of what it wrote, `environment` as in the record."""
    lines = errors.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    found = _LAST_LINE.fullmatch(last)
    if found is None:
        return ""
    module = found[1]
    package, kind = _PACKAGES.get(module), environment.kind
    known, name = package is not None, package or "PACKAGE"
    if kind == "project":
        return "The project's environment has no module %s. Its package is added by: uv add %s" % (module, name)
    if kind == "requirements":
        listed = name if known else "the package that has it"
        return "The environment has no module %s. Add to %s: %s" % (module, environment.path, listed)
    own = "A module of your own goes along with --in %s.py" % module
    if kind == "script":
        header = 'The list at the top of the script is to name its package: "%s"' % name
    else:
        header = 'A script has its packages by a header:\n  # /// script\n  # dependencies = ["%s"]\n  # ///' % name
    # What is probably right comes first.
    return "\n".join(["The server has no module %s." % module, *([header, own] if known else [own, header])])
