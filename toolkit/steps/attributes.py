"""Attributes: what is known of customers now, as far as their traits ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from toolkit.errors import SpecError
from toolkit.lake.cohort import attributes_of
from toolkit.steps.cohort import identifier_of, open_customerio
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["trait_attributes"]


def trait_attributes(
    workspace: Workspace, spec: Spec, customers: AbstractSet[str]
) -> Mapping[str, Mapping[str, Any]]:
    """Return customer → the attributes that bands and `margin_protection` ask for, as they are now.

    Whoever the source does not know is left out. Customer.io is asked for `customers` alone, 100 a request.

    Raises:
        SpecError: the experiment has no cohort that could tell.
        DataError: the cohort's file or query lacks such a column.
        VendorError: Customer.io refused or could not be reached.
    """
    experiment = spec.experiment
    wanted = experiment.trait_attributes
    if not wanted:
        return {}
    if experiment.cohort is None:
        raise SpecError(
            f"{spec.path}: cohort: is missing; without it nobody's {' and '.join(f'`{each}`' for each in wanted)}, "
            "which traits or `margin_protection` name, can be known"
        )
    if experiment.cohort.source != "customerio":
        return attributes_of(workspace.lake, experiment, spec.path, wanted)
    with open_customerio(workspace) as app:
        return {
            identifier_of(experiment, person.identifiers): {
                name: person.attributes[name] for name in wanted if name in person.attributes
            }
            for person in app.attributes(sorted(customers), id_type=experiment.identity.key)
        }
