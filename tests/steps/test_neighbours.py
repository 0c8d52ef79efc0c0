"""Two files of one key in a folder: one ledger and one folder of reports cannot be of both."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tests.example import FILES, OnFiles
from toolkit.errors import SpecError
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.assign import assign
from toolkit.steps.check import check
from toolkit.steps.plan import plan_push
from toolkit.steps.readout import readout
from toolkit.steps.weekly import weekly
from toolkit.steps.workspace import Spec, Workspace

TRAIT = "traits: [{name: offer, type: boolean, arms: [treatment]}]\n"


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / "experiments"
    folder.mkdir()
    return OnFiles(folder, FILES.replace("assignment: {source: files}\n", "") + TRAIT)


def workspace_of(case):
    home = case.folder.parent
    settings = Settings(
        lift_home=str(home / "lake"), lift_reports=home / "reports", lift_now=datetime(2026, 1, 9, tzinfo=UTC)
    )
    return Workspace(settings, Lake(settings.lift_home))


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("step", [check, assign, lambda *given: plan_push(*given, None), readout])
def test_no_step_takes_a_file_whose_key_another_file_has(case, step, same):
    path = case.write()
    other = case.folder / "other.yaml"
    other.write_text(path.read_text() if same else path.read_text() + "name: Quite another\n")
    for mine, theirs in ((path, other), (other, path)):
        with pytest.raises(SpecError, match="on-files is also the key of") as refused:
            step(workspace_of(case), Spec.read(mine))
        assert {str(mine), str(theirs)} <= set(refused.value.args[0].replace(": ", " ").split())
    assert sorted(each.name for each in case.folder.parent.iterdir()) == ["experiments"]


def test_the_weekly_job_publishes_neither_of_two_files_of_one_key_and_goes_on(case):
    case.spec = FILES
    path = case.write()
    (case.folder / "other.yml").write_text(FILES + "name: Quite another\n")
    (case.folder / "third.yml").write_text(FILES.replace("key: on-files", "key: on-files-too"))
    first, second, third = weekly(workspace_of(case), case.folder, as_of=date(2026, 1, 9))
    assert (first.spec, first.exit_status, first.page) == (str(path), 2, None)
    assert "also the key of" in second.error
    assert third.page.exists()
    assert not (case.folder.parent / "reports" / "on-files").exists()
