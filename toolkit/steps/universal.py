"""Universal: the specs of a programme as one, to be measured like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from toolkit.design.universal import universal_of
from toolkit.errors import SpecError
from toolkit.steps.workspace import Spec

__all__ = ["universal"]


def universal(specs: Sequence[Spec]) -> Spec:
    """Return the spec of the universal holdout that `specs` share; measure it after each of them was pulled.

    Its digest is made from theirs, so that a readout of it says which files it rests on.

    Raises:
        SpecError: there are none, or they do not share one universal holdout.
    """
    if not specs:
        raise SpecError("no experiment files were given; a universal holdout is what several of them share")
    digests = "\n".join(sorted(each.digest for each in specs))
    experiment = universal_of([each.experiment for each in specs])
    return replace(specs[0], experiment=experiment, digest=hashlib.sha256(digests.encode()).hexdigest())
