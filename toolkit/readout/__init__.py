"""What people read: the record, its sections and charts, the published page and the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["Readout"]


def __getattr__(name: str) -> Any:
    """Load the readout when it is asked for: writing a record as JSON needs no templates."""
    if name == "Readout":
        from toolkit.readout.readout import Readout

        return Readout
    raise AttributeError(name)
