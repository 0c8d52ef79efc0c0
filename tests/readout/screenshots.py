"""Pictures of the four ways an experiment can end: `python -m tests.readout.screenshots` writes docs/images/*.png."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.readout.pages import site
from tests.readout.stories import STORIES, tell

IMAGES = Path(__file__).parents[2] / "docs" / "images"
FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]


def main(folder: Path) -> None:
    """Measure every story, make its page, and take the first screen of it."""
    from playwright.sync_api import sync_playwright

    records = {state: tell(story, folder / state) for state, story in STORIES.items()}
    site(folder / "reports", [record for each in records.values() for record in each])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        for state, found in records.items():
            place = folder / "reports" / found[-1]["experiment"] / found[-1]["as_of"]
            tab.goto((place / "index.html").as_uri())
            tab.screenshot(path=IMAGES / f"{state}.png")
            sys.stdout.write(f"{IMAGES / state}.png\n")
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(made))
