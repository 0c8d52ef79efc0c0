"""What can begin before it is known what is to be done."""

from __future__ import annotations

from toolkit.lake.engine import open_ahead

__all__ = ["open_ahead"]
