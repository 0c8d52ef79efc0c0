from __future__ import annotations

import shutil
from datetime import date

import pytest

from toolkit.notebook import start_with_files
from toolkit.settings import Settings
from toolkit.steps.design import design
from toolkit.steps.workspace import Spec, Workspace

AS_OF = date(2026, 11, 1)


@pytest.fixture(scope="package")
def files(tmp_path_factory):
    """A workspace and the experiment on files that a notebook starts with."""
    folder = tmp_path_factory.mktemp("own")
    return Workspace.open(Settings(lift_home=str(folder / "lake"))), Spec.read(start_with_files(folder))


@pytest.fixture(scope="package")
def designed(files):
    return design(*files, as_of=AS_OF, lift=0.1)


@pytest.fixture(scope="package")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium here")
    flags = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
