"""What people read: the record, its sections and charts, the published page and the index."""

from toolkit.readout.readout import Readout

__all__ = ["Readout"]
