"""The weekly job as a scheduler runs it: a fresh machine each week, the lake and the pages elsewhere."""

from __future__ import annotations

import shutil
from datetime import date

import pytest

from tests.end_to_end.conftest import Lift
from tests.example import OnFiles
from tests.readout import bucket
from tests.readout.pages import site
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.weekly import weekly
from toolkit.steps.workspace import Workspace


@pytest.fixture(scope="module")
def buckets():
    with bucket.served() as served:
        yield served


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / "experiments"
    folder.mkdir()
    return OnFiles(folder)


@pytest.fixture
def into(tmp_path, buckets):
    """Return a command `lift` whose reports go to a URL."""

    def run(url, *arguments, expect=0):
        machine = tmp_path / "machine"
        shutil.rmtree(machine, ignore_errors=True)
        machine.mkdir()
        lift = Lift(machine)
        lift.variables |= buckets.environment() | {"LIFT_HOME": str(tmp_path / "lake"), "LIFT_REPORTS": url}
        done = lift(*arguments, expect=expect)
        assert bucket.SECRET not in done.stdout + done.stderr
        return done, machine

    return run


def test_every_week_is_published_from_a_fresh_machine_and_the_index_lists_them_all(case, buckets, into):
    url = buckets.make()
    case.write()
    into(url, "weekly", case.folder, "--as-of", "2026-01-15")
    done, machine = into(url, "weekly", case.folder, "--as-of", "2026-01-22", "--digest", "digest.md")
    assert f"index: {url}/index.html" in done.stdout
    assert f"]({url}/on-files/2026-01-22/index.html)" in (machine / "digest.md").read_text()
    assert [each.name for each in machine.iterdir()] == ["digest.md"]
    index = buckets.get(url, "index.html").text
    page = buckets.get(url, "on-files/2026-01-22/index.html").text
    assert all(f'"on-files/{on}/index.html"' in index for on in ("2026-01-15", "2026-01-22"))
    rebuilt, machine = into(
        url, "readout", case.folder / "experiment.yml", "--as-of", "2026-01-22", "--rebuild"
    )
    assert rebuilt.stdout == f"{url}/on-files/2026-01-22/index.html\n"
    assert list(machine.iterdir()) == []
    assert buckets.get(url, "on-files/2026-01-22/index.html").text == page
    assert buckets.get(url, "index.html").text == index


@pytest.mark.parametrize("command", ["readout", "weekly"])
def test_a_missing_bucket_is_told_in_one_sentence_before_anything_is_measured(case, buckets, into, command):
    buckets.asked.clear()
    given = case.write() if command == "readout" else case.write().parent
    done, _ = into("s3://nobodys-bucket/lift", command, given, "--as-of", "2026-01-22", expect=3)
    told = "s3://nobodys-bucket/lift: cannot be read: there is no such bucket or container; create it"
    assert done.stderr == f"lift: {told}, or correct LIFT_REPORTS\n"
    assert done.stdout == ""
    assert not (case.folder.parent / "lake").exists()
    assert len(buckets.asked) == 1


def test_a_page_that_cannot_be_uploaded_is_told_in_the_index_and_stops_no_other(case, buckets, monkeypatch):
    url = buckets.make()
    case.write()
    (case.folder / "other.yml").write_text(case.spec.replace("key: on-files", "key: other"))
    for name, value in buckets.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(  # what a page looks like is asked elsewhere
        "toolkit.readout.store.publish",
        lambda record, folder, **_: (
            site(folder, [record]).parent / record["experiment"] / record["as_of"] / "index.html"
        ),
    )
    home = str(case.folder.parent / "lake")
    workspace = Workspace(Settings(lift_home=home, lift_reports=url), Lake(home))
    buckets.refuse = lambda method, path: 403 if method == "PUT" and "/on-files/" in path else None
    refused, published = weekly(workspace, case.folder, as_of=date(2026, 1, 22))
    buckets.refuse = lambda method, path: None
    assert f"{url}/on-files/2026-01-22/readout.csv: cannot be written: access is denied" in refused.error
    assert (refused.page, refused.exit_status) == (None, 3)
    assert published.page == f"{url}/other/2026-01-22/index.html"
    index = buckets.get(url, "index.html").text
    assert '"other/2026-01-22/index.html"' in index
    assert "on-files/2026-01-22/index.html" not in index
    assert "access is denied (403 Refused)" in index
