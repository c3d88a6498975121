"""The pictures of the page in the README: `python -m tests.space.screenshots` writes docs/space/*.png.

With a folder as argument, every tab in light and dark and on a phone goes there instead, to be looked at.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from PIL import Image
from playwright.sync_api import sync_playwright

from nerfound.space import launch
from tests.space.conftest import CHROMIUM

DOCS = Path(__file__).parents[2] / "docs" / "space"
COLORS = 128  # of the palette: keeps a picture below 250 kB


def teach(page):
    for _ in range(2):  # the first fit of a process warms it up
        page.locator("#fit").click()
        page.locator("#findings .nf-text").wait_for()
        page.wait_for_timeout(1_000)


def compare(page):
    page.locator("#compare").click()
    page.locator("#compare-base .nf-text").wait_for()


def see(page):
    page.locator("#see").click()
    page.locator("#see-panels .nf-words").first.wait_for()
    page.frame_locator("#concept-map iframe").get_by_label("Search concepts").wait_for()
    page.wait_for_timeout(1_000)  # the map draws itself


def concepts(page):
    page.locator("#score").click()
    page.locator("#concepts-heat .nf-heat").first.wait_for()


TABS = {"Teach": teach, "Compare": compare, "See": see, "Concepts": concepts}


def save(page, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=path, full_page=True)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


def main(folder):
    app = launch(block=False)
    looks = [("", {"viewport": {"width": 1280, "height": 900}})]
    if folder:
        looks += [
            ("-dark", looks[0][1] | {"color_scheme": "dark"}),
            ("-phone", {"viewport": {"width": 390, "height": 844}}),
            ("-phone-dark", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}),
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for suffix, options in looks:
            page = browser.new_page(**options)
            page.set_default_timeout(180_000)
            page.goto(app.local_url)
            page.locator(".nf-example").first.wait_for()
            for name in TABS if folder else ("Teach", "Compare"):
                page.get_by_role("tab", name=name).click()
                TABS[name](page)
                save(page, (folder or DOCS) / f"{name.lower()}{suffix}.png")
        browser.close()
    app.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
