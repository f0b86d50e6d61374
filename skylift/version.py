"""The version of skylift, apart from `skylift` itself: whoever asks for it does not import the Python API."""

from __future__ import annotations

__version__ = "0.1.0"
