"""What a look-up file holds, in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.design.durations import in_words
from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.steps.lookup import LookedUp

__all__ = ["lookup_text"]


def lookup_text(done: LookedUp) -> str:
    """Return what was written, without a customer's id."""
    counts = done.lookup.counts
    rows = [
        [
            trait.name,
            str(value).lower() if isinstance(value, bool) else value,
            f"{counts[trait.name][value]:,}",
            trait.schema_version,
            in_words(trait.age_limit),
        ]
        for trait in done.lookup.experiment.traits
        for value in trait.positive_values
    ]
    left = f"; {done.lookup.leaving:,} of the version before are in it no more" if done.lookup.leaving else ""
    return "\n".join(
        [
            table_text(["trait", "value", "customers", "schema", "max age"], rows, right=[2, 3]),
            f"{done.path}: version {done.lookup.version}, {len(done.lookup.customers):,} customers{left}; "
            "whoever is not in it has the defaults",
            "it holds customer ids: keep it where no browser can load it",
        ]
    )
