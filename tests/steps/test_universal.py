"""The universal holdout, asked as one experiment."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from toolkit.design.universal import OPEN_ARM, universal_of
from toolkit.errors import SpecError
from toolkit.lake import enrol
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.universal import universal
from toolkit.steps.workspace import Spec, Workspace

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yml"))


def specs():
    return [Spec.read(path) for path in EXPERIMENTS]


def test_it_lasts_as_long_as_any_and_compares_those_in_nothing_with_all_others():
    together = universal(specs()).experiment
    assert together.key == "always-on-2026h2"
    assert together.arms == {"holdout": 0.02, OPEN_ARM: 0.98}
    assert OPEN_ARM == enrol.OPEN_ARM
    assert together.start == min(each.experiment.start for each in specs())
    assert together.end == max(each.experiment.end for each in specs())
    assert together.traits == ()
    assert together.value is None
    assert not any(metric.attributes for metric in together.metrics)
    assert [metric.name for metric in together.metrics] == [
        each.name for each in specs()[0].experiment.metrics
    ]


def test_its_digest_is_that_of_the_files_in_whatever_order():
    assert universal(specs()).digest == universal(specs()[:1] + specs()[:0:-1]).digest
    assert universal(specs()).digest != universal(specs()[:2]).digest


def test_experiments_that_share_no_universal_holdout_are_not_asked_together():
    first, second, _ = specs()
    alone = first.experiment.model_copy(
        update={"cohort": first.experiment.cohort.model_copy(update={"universal_holdout": None})}
    )
    with pytest.raises(SpecError, match=r"have to share one .*cart-free-shipping: none"):
        universal([replace(first, experiment=alone), second])
    with pytest.raises(SpecError, match="no experiment files"):
        universal([])
    with pytest.raises(SpecError, match="no experiment"):
        universal_of([])


def test_it_is_measured_from_the_ledger_that_enrolment_wrote(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "people.csv").write_text("id\n" + "".join(f"c{n}\n" for n in range(4000)))
    orders = "".join(f"c{n},Order Completed,2026-09-20T00:00:00Z,10\n" for n in range(0, 4000, 3))
    (folder / "events.csv").write_text("id,name,timestamp,amount\n" + orders)
    (folder / "experiment.yml").write_text(
        "key: one\nstart: 2026-09-07\nend: 2026-10-05\n"
        "cohort: {source: files, path: people.csv, universal_holdout: {key: in-nothing, share: 0.2}}\n"
        "arms: {holdout: 0.5, offer: 0.5}\ncontrol: holdout\nevents: {source: files, path: events.csv}\n"
        "metrics: [{name: purchase_rate, kind: conversion, event: Order Completed, window: 28d, role: primary}]\n"
    )
    from toolkit.steps.assign import assign

    spec = Spec.read(folder / "experiment.yml")
    home = str(tmp_path / "lake")
    enrolled = assign(
        Workspace.open(Settings(lift_home=home, lift_now="2026-09-08T00:00:00Z")), spec
    ).enrolment
    found = measure(Workspace.open(Settings(lift_home=home)), universal([spec]), as_of=date(2026, 11, 5))
    assert found.experiment == "in-nothing"
    assert found.customers == {"holdout": enrolled.universal, "open": 4000 - enrolled.universal}
    (lift,) = found.lifts
    assert lift.means["open"] == pytest.approx(1 / 3, abs=0.03)
