"""LIFT_REPORTS: a folder, which needs nothing else, or an object store's URL, which needs an extra."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.readout.pages import site
from toolkit.demo import run_demo, serve
from toolkit.errors import SettingsError
from toolkit.readout import reports
from toolkit.settings import Settings


def test_a_missing_extra_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SettingsError, match=r"pip install 'lift-toolkit\[cloud\]'"):
        reports.reach("s3://reports/lift")


def test_a_folder_needs_nothing_of_all_this(record, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "obstore", None)
    folder = Settings(lift_reports=str(tmp_path / "a b")).lift_reports
    site(tmp_path / "a b", [record])
    reports.reach(folder)
    assert reports.write_index(folder) == tmp_path / "a b" / "index.html"
    assert Settings(lift_reports=(tmp_path / "a b").as_uri()).lift_reports == folder
    assert Settings().lift_reports == Path("reports")


@pytest.mark.parametrize(
    "given", ["s3://bucket", "s3://bucket/a/b/", "gs://bucket/a", "az://container/a.b_c-d=1"]
)
def test_a_stores_url_is_kept_as_text(given):
    assert Settings(lift_reports=given).lift_reports == given.rstrip("/")


@pytest.mark.parametrize(
    "given",
    [
        "s3://",
        "s3:///prefix",
        "s3://key:hush@bucket/prefix",
        "s3://bucket/a/../b",
        "s3://bucket//b",
        "az://container/a?sig=hush",
        "https://bucket.example/hush",
        "file://host/hush",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_not_repeated(monkeypatch, given):
    monkeypatch.setenv("LIFT_REPORTS", given)
    with pytest.raises(
        SettingsError, match="LIFT_REPORTS: this is no folder, and no URL such as s3://"
    ) as refused:
        Settings.read()
    assert "hush" not in str(refused.value)


def test_what_only_a_folder_can_hold_says_so():
    with pytest.raises(SettingsError, match="LIFT_REPORTS is s3://bucket/a: this writes to a folder only"):
        Settings(lift_reports="s3://bucket/a").reports_folder()


def test_the_demo_writes_its_simulated_pages_to_no_store(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("LIFT_REPORTS", "s3://bucket/a")
    with pytest.raises(SettingsError, match="this writes to a folder only"):
        run_demo(seed=1, weeks=1, progress=lambda *_: None)
    with pytest.raises(SettingsError, match="this writes to a folder only"):
        serve(["true"], seed=1, weeks=0)


def test_a_simulated_world_has_no_lake_in_a_store(monkeypatch):
    monkeypatch.setenv("LIFT_HOME", "s3://bucket/lake")
    with pytest.raises(SettingsError, match="LIFT_HOME is s3://bucket/lake: this writes to a folder only"):
        serve(["true"], seed=1, weeks=0)
