"""A real Chromium: an installed one, else playwright's own."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-sync", *QUIET]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    installed = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=installed, args=ARGUMENTS)
        yield running
        running.close()
