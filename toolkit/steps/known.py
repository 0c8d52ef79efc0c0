"""Known: whether Customer.io has the customers who are to be told something, under the key they are told by.

Customer.io ignores what it is told of a person whom it does not know, without a word: such a customer would be
offered something on the site, be recorded as told, and never get the message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from toolkit.errors import SettingsError, VendorError
from toolkit.steps.cohort import open_customerio
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Known", "ask_whom_it_knows"]

MOST = 10_000
"""Up to so many customers all are asked for, 100 a request and 10 requests a second."""
SAMPLE = 1_000
"""Of more, so many."""


@dataclass(frozen=True, slots=True)
class Known:
    """What Customer.io said of customers.

    Attributes:
        asked: customers asked for.
        among: customers there were; where they are more, those asked for are a sample.
        unknown: those among the asked whom it does not know.
        not_asked: why it could not be asked, if so.
    """

    asked: int = 0
    among: int = 0
    unknown: tuple[str, ...] = ()
    not_asked: str | None = None


def ask_whom_it_knows(workspace: Workspace, spec: Spec, customers: Collection[str]) -> Known | None:
    """Return whom of `customers` it does not know; None where there is none to ask for.

    Nor is anybody asked for whose cohort came from Customer.io itself. Of very many a sample is, the same each time.
    """
    experiment = spec.experiment
    if not customers or (experiment.cohort and experiment.cohort.source == "customerio"):
        return None
    sample = sorted(customers)
    if len(sample) > MOST:
        sample = sorted(sample, key=lambda each: hashlib.sha256(each.encode()).digest())[:SAMPLE]
    try:
        with open_customerio(workspace) as client:
            found = {
                getattr(person.identifiers, experiment.identity.key)
                for person in client.attributes(sample, id_type=experiment.identity.key)
            }
    except (SettingsError, VendorError) as refused:
        return Known(not_asked=str(refused))
    if experiment.identity.key == "email":
        found = {(each or "").strip().lower() for each in found}
    return Known(len(sample), len(customers), tuple(each for each in sorted(sample) if each not in found))
