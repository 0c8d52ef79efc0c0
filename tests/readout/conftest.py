"""Records to make pages of: a small one, and experiments that end in each of four ways."""

from __future__ import annotations

import json
from datetime import date

import pytest

from tests.example import FILES, OnFiles
from tests.readout.stories import STORIES, tell
from toolkit.lake.tables import Lake
from toolkit.readout.record import record_of
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Return the record of eighty customers, with two earlier looks."""
    folder = tmp_path_factory.mktemp("case")
    case = OnFiles(folder, FILES + "analysis: {breakdowns: [tier]}\n")
    case.people["tier"] = ["a", "a", "b", "b"] * 20
    spec = Spec.read(case.write())
    home = str(folder / "lake")
    found = measure(Workspace(Settings(lift_home=home), Lake(home)), spec, as_of=date(2026, 1, 22))
    look = {
        "metric": "purchase_rate",
        "arm": "treatment",
        "trusted": True,
        "value": 0.01,
        "low": -0.1,
        "high": 0.1,
    }
    history = [look | {"as_of": "2026-01-08"}, look | {"as_of": "2026-01-15"}]
    return record_of(spec.experiment, found, spec_digest=spec.digest) | {"history": history}


@pytest.fixture
def record(small):
    """Return a copy that a test may change."""
    return json.loads(json.dumps(small))


@pytest.fixture(scope="session")
def told(tmp_path_factory):
    """Return state → the records of its experiment, oldest first."""
    folder = tmp_path_factory.mktemp("stories")
    return {state: tell(story, folder / state) for state, story in STORIES.items()}


@pytest.fixture
def stories(told):
    """Return state → its newest record, to be changed at will."""
    return {state: json.loads(json.dumps(records[-1])) for state, records in told.items()}
