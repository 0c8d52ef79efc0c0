"""Signs: numbers that stand for events or ids where repeats are looked for, kept in sorted runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Bits", "Numbers", "Places", "Signs"]

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[Any]
Bits = npt.NDArray[np.uint8]
STRETCH = 1 << 26
"""So many bits are unpacked at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Signs:
    """Signs of events, sorted, and where each stands: the number of its file × 2³² + its row there.

    `leads` has a bit for each beginning of a sign, set where some sign begins so: most signs that are not here
    are told by it, without a search. It is made by whoever needs it.
    """

    signs: Numbers
    places: Places
    leads: Bits | None = None

    @classmethod
    def sorted_from(cls, signs: Numbers, places: Places, *, runs: bool = False) -> Signs:
        """Return signs in whatever order, sorted; `runs` says that they are a few sorted stretches."""
        order = np.argsort(signs, kind="stable" if runs else None)
        return cls(signs[order], places[order])

    def found(self, wanted: Numbers) -> tuple[npt.NDArray[np.bool_], Places]:
        """Return which of `wanted` (sorted) are here, and for those one of their places."""
        here = np.zeros(len(wanted), dtype=np.bool_)
        if not len(self.signs):
            return here, np.zeros(0, dtype=np.uint32)
        maybe = np.arange(len(wanted))
        if self.leads is not None:
            lead = _lead(wanted, len(self.leads))
            byte, bit = lead >> np.uint64(3), (lead & np.uint64(7)).astype(np.uint8)
            maybe = np.flatnonzero((self.leads[byte.astype(np.int64)] >> bit) & np.uint8(1))
        at = np.minimum(np.searchsorted(self.signs, wanted[maybe]), len(self.signs) - 1)
        met = self.signs[at] == wanted[maybe]
        here[maybe[met]] = True
        return here, self.places[at[met]]

    def with_leads(self) -> Signs:
        """Return these signs with their `leads`: 8 to 16 bits for each sign."""
        size = 1 << max(len(self.signs).bit_length(), 3)  # bytes
        lead, parts = _lead(self.signs, size), []
        for start in range(0, 8 * size, STRETCH):  # unpacked, a bit takes a byte
            low, high = np.searchsorted(lead, np.array([start, start + STRETCH], np.uint64))
            found = np.zeros(min(STRETCH, 8 * size), dtype=np.bool_)
            found[lead[low:high].astype(np.int64) - start] = True
            parts.append(np.packbits(found, bitorder="little"))
        return replace(self, leads=np.concatenate(parts))


def _lead(signs: Numbers, size: int) -> Numbers:
    """Return the beginnings of signs: numbers below eight times `size`, a power of two."""
    return signs >> np.uint64(64 - (size.bit_length() + 2))
