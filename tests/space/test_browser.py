"""What a visitor does, in a real browser: mouse, keyboard, phone."""

import csv
import io
import json
import zipfile

import pytest

HOSTILE = "<img src=x onerror=\"alert('hacked')\">{{7*7}}${alert(1)}</script><script>alert(2)</script>"


def select(page, surface, words):
    """Drag the mouse over words of a text."""
    surface.scroll_into_view_if_needed()
    box = surface.evaluate(
        """(node, words) => {
          const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT), range = document.createRange();
          const start = node.textContent.indexOf(words), end = start + words.length;
          let at = 0;
          for (let text; (text = walker.nextNode()); at += text.data.length) {
            if (start >= at && start < at + text.data.length) range.setStart(text, start - at);
            if (end > at && end <= at + text.data.length) range.setEnd(text, end - at);
          }
          const rects = [...range.getClientRects()], first = rects[0], last = rects[rects.length - 1];
          return [first.left + 1, first.top + first.height / 2, last.right - 1, last.top + last.height / 2];
        }""",
        words,
    )
    page.mouse.move(box[0], box[1])
    page.mouse.down()
    page.mouse.move((box[0] + box[2]) / 2, box[3])
    page.mouse.move(box[2], box[3])
    page.mouse.up()
    page.locator(".nf-menu:visible").wait_for()


def add_concept(page, name, description=""):
    page.get_by_label("Name of a new concept").fill(name)
    page.get_by_label("Description of the new concept").fill(description)
    page.get_by_role("button", name="Add concept").click()


def start_empty(page, *texts, concepts=("restaurant", "city")):
    page.get_by_role("button", name="Start empty").click()
    page.get_by_text("No example yet.").wait_for()
    for concept in concepts:
        add_concept(page, concept)
    page.get_by_label("New example texts").fill("\n".join(texts))
    page.get_by_role("button", name="Add texts").click()


def example(page, number):
    return page.locator("#annotator .nf-text").nth(number)


def markup_of(page):
    """What the markup view shows; then back to the marks."""
    page.get_by_role("button", name="Markup", exact=True).click()
    area = page.get_by_label("Examples as inline markup")
    area.wait_for()
    value = area.input_value()
    page.get_by_role("button", name="Marks", exact=True).click()
    page.locator("#annotator .nf-examples").wait_for()
    return value


def fit(page):
    page.locator("#fit").click()
    page.get_by_text("Fitted in").wait_for()
    page.locator("#findings .nf-text").wait_for()


def import_file(page, path):
    with page.expect_file_chooser() as chooser:
        page.locator("#import").click()
    chooser.value.set_files(path)


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()


def replace_text(page, box, text):
    """Fill a box of a tab just opened, once it has its own text, which would take the place of ours."""
    page.wait_for_function("selector => document.querySelector(selector)?.value", arg=f"{box} textarea")
    page.locator(f"{box} textarea").fill(text)


def test_the_loop_of_teaching_with_the_mouse(page):
    start_empty(page, "a table at Nobu in Paris", "😀 is there a table at Noma?", concepts=())
    add_concept(page, "restaurant", "serves meals")
    add_concept(page, "city")
    select(page, example(page, 0), "Nobu")
    page.keyboard.press("1")
    select(page, example(page, 0), "ari")  # a cut word is completed
    page.locator(".nf-menu:visible").get_by_role("button", name="city").click()
    select(page, example(page, 1), "Noma")
    page.get_by_role("button", name="Concept 1: restaurant").click()
    assert page.locator(".nf-count").inner_text() == "2 examples, 3 mentions"
    marked = "a table at [Nobu](restaurant) in [Paris](city)\n😀 is there a table at [Noma](restaurant)?"
    assert markup_of(page) == marked

    page.locator("#new-text textarea").fill("😀 Nobu in Oslo, then home")
    fit(page)
    assert "2 examples with 3 mentions" in page.locator("#fit-status").inner_text()
    found = page.locator("#findings .nf-text")
    for mark in range(found.locator("mark").count()):  # whatever the random model found
        found.locator("mark").first.click()
        page.locator("#findings .nf-remove").click()
        assert mark >= 0
    assert found.locator("mark").count() == 0
    select(page, found, "Oslo")
    page.keyboard.press("2")
    assert found.locator("mark").get_attribute("data-tag") == "city yours"
    found.locator("mark").click()
    page.locator("#findings .nf-menu").get_by_role("button", name="restaurant").click()
    assert found.locator("mark").get_attribute("data-tag") == "restaurant yours"

    page.locator("#correct").click()
    page.get_by_text("3 examples with 4 mentions").wait_for()
    assert markup_of(page) == marked + "\n😀 Nobu in [Oslo](restaurant), then home"
    page.locator("#findings .nf-text").wait_for()


def test_an_example_is_relabelled_and_removed_by_keyboard_alone(page):
    start_empty(page, "a table at Nobu", "nothing here")
    page.get_by_role("button", name="Markup", exact=True).press("Enter")
    area = page.get_by_label("Examples as inline markup")
    area.fill("a table at [Nobu](city)\nfly to [Oslo](airport)")
    page.get_by_role("button", name="Apply").press("Enter")
    page.get_by_role("button", name="Concept 3: airport").wait_for()
    mark = example(page, 0).locator("mark")
    assert mark.get_attribute("aria-label") == "Nobu: city. Change"
    mark.focus()
    page.keyboard.press("Enter")
    assert page.locator(".nf-menu:visible").get_attribute("aria-label") == "Concept of “Nobu”"
    page.keyboard.press("Escape")
    assert page.locator(".nf-menu:visible").count() == 0
    assert mark.evaluate("(node) => node === document.activeElement")
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    assert mark.get_attribute("data-tag") == "restaurant"
    page.keyboard.press("Enter")
    page.keyboard.press("Delete")
    assert mark.count() == 0
    page.get_by_label("Remove example 1").press("Enter")
    assert markup_of(page) == "fly to [Oslo](airport)"


def test_wrong_markup_is_told_where_it_stands_and_is_not_lost(page):
    page.get_by_role("button", name="Markup", exact=True).click()
    area = page.get_by_label("Examples as inline markup")
    area.fill("fine\n[Nobu](restaurant")
    page.get_by_role("button", name="Apply").click()
    problem = page.locator("#annotator .nf-problem:visible")
    problem.wait_for()
    assert problem.inner_text().startswith("Line 2: a label is not closed")
    assert area.input_value() == "fine\n[Nobu](restaurant"


def test_a_concept_is_renamed_with_its_mentions_and_removed_with_them(page):
    page.get_by_role("button", name="Concept 1: restaurant").click()
    page.get_by_label("Name of the concept").fill("city")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_label("Name of the concept").evaluate("(input) => !input.validity.valid")
    page.get_by_label("Name of the concept").fill("eatery")
    page.get_by_role("button", name="Save").click()
    assert example(page, 0).locator("mark").first.get_attribute("data-tag") == "eatery"
    page.get_by_role("button", name="Concept 1: eatery").click()
    page.get_by_role("button", name="Remove concept").click()
    assert example(page, 0).locator("mark").first.get_attribute("data-tag") == "city"


@pytest.mark.parametrize("name", ["Clinic notes", "Machine logbook"])
def test_worked_examples_load_with_one_click(page, name):
    page.get_by_role("button", name=name).click()
    chip = {"Clinic notes": "medication", "Machine logbook": "machine"}[name]
    page.get_by_role("button", name=f"Concept 1: {chip}").wait_for()
    before = page.locator("#new-text textarea").input_value()
    page.locator("#another").click()
    page.wait_for_function("(old) => document.querySelector('#new-text textarea').value !== old", arg=before)
    page.locator("#find").click()  # fits what is not fitted yet
    page.locator("#findings .nf-text").wait_for()


def test_the_threshold_hides_without_asking_the_server_and_downloads_hold_what_is_shown(page):
    start_empty(page, "a table at Nobu", concepts=("=cmd", "city"))
    select(page, example(page, 0), "Nobu")
    page.keyboard.press("1")
    page.locator("#new-text textarea").fill('-2+3 "Nobu", in Oslo')
    fit(page)
    found = page.locator("#findings .nf-text")
    select(page, found, "Oslo")
    page.keyboard.press("2")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "heartbeat" not in request.url else None)
    slider = page.get_by_label("Threshold")
    slider.fill("100")
    assert found.locator("mark:not(.nf-yours)").count() == 0
    assert found.locator("mark.nf-yours").count() == 1  # what the visitor said stays
    slider.fill("0")
    select(page, found, "-2+3")
    page.keyboard.press("1")
    page.locator("#findings summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "entities.csv"
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    formula = next(row for row in rows if row["start"] == "0")
    assert (formula["text"], formula["label"]) == ("'-2+3", "'=cmd")
    assert {"text": "Oslo", "label": "city", "score": "", "start": "16", "end": "20"} in rows
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    written = json.loads(download.value.path().read_text())
    assert written["text"] == '-2+3 "Nobu", in Oslo'
    assert {"start": 0, "end": 4, "label": "=cmd", "text": "-2+3", "score": None} in written["entities"]
    assert [url for url in asked if not url.startswith("blob:")] == []


def test_the_recognizer_is_downloaded(page):
    fit(page)
    with page.expect_download() as download:
        page.locator("#archive").click()
    assert download.value.suggested_filename == "nerfound-recognizer.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"recognizer/config.json", "recognizer/model.safetensors"} <= set(archive.namelist())


def test_files_are_imported(page, tmp_path):
    (tmp_path / "more.conll").write_text("fly O\nto O\nOslo B-airport\n")
    import_file(page, tmp_path / "more.conll")
    page.get_by_role("button", name="Concept 5: airport").wait_for()
    assert markup_of(page).endswith("\nfly to [Oslo](airport)")


def test_what_is_missing_or_too_much_is_told(page, tmp_path):
    start_empty(page, "a table at Nobu")
    page.locator("#fit").click()
    page.get_by_text("Nothing is marked yet").wait_for()
    page.get_by_label("New example texts").fill("x" * 2_001)
    page.get_by_role("button", name="Add texts").click()
    page.get_by_text("Line 1 has more than 2,000 characters").wait_for()
    page.get_by_label("New example texts").fill("\n".join("x" * 100))
    page.get_by_role("button", name="Add texts").click()
    page.get_by_text("at most 100 examples; there are 1").wait_for()
    add_concept(page, "City")
    page.get_by_text("“City” is there already").wait_for()
    for number in range(11):
        add_concept(page, f"c{number}")
    page.get_by_text("at most 12 concepts").wait_for()
    select(page, example(page, 0), "Nobu")
    page.keyboard.press("1")
    page.locator("#new-text textarea").fill("y" * 5_001)
    page.locator("#find").click()
    page.get_by_text("5,001 characters; this page reads at most 5,000").wait_for()
    (tmp_path / "large.txt").write_text("z" * 1_000_001)
    import_file(page, tmp_path / "large.txt")
    page.get_by_text("1,000,001 bytes; this page reads at most").wait_for()


def test_markup_of_visitors_is_text_everywhere(page, tmp_path):
    start_empty(page, f"a table at Nobu {HOSTILE}", concepts=())
    add_concept(page, HOSTILE[:60], HOSTILE)
    select(page, example(page, 0), "Nobu")
    page.keyboard.press("1")
    assert HOSTILE in example(page, 0).inner_text()
    page.locator("#new-text textarea").fill(f"Nobu {HOSTILE}")
    fit(page)
    assert HOSTILE in page.locator("#findings .nf-text").inner_text()
    page.locator("#findings summary").click()
    markup_of(page)
    add_concept(page, HOSTILE[1:61])
    page.locator("#find").click()
    page.get_by_text("Left out, for want of a mention").wait_for()
    page.locator("#findings .nf-text").wait_for()
    path = tmp_path / "<img src=x onerror=alert(3)>.jsonl"
    path.write_text('{"text": "<img src=x onerror=alert(4)>"}')
    import_file(page, path)
    page.get_by_text("Could not read").wait_for()
    open_tab(page, "Compare")
    replace_text(page, "#compare-text", HOSTILE)
    page.locator("#compare").click()
    page.locator("#compare-base .nf-text").wait_for()
    assert page.locator("#compare-base .nf-text").inner_text() == HOSTILE
    open_tab(page, "See")
    replace_text(page, "#see-text", HOSTILE)
    page.locator("#see").click()
    page.locator("#see-panels .nf-words").first.wait_for()
    assert page.locator("#see-panels .nf-words").first.inner_text() == HOSTILE
    open_tab(page, "Concepts")
    page.locator("#concepts-text textarea").fill(HOSTILE)
    page.locator("#concepts-list textarea").fill(HOSTILE[:60].replace(":", ""))
    page.locator("#score").click()
    page.locator("#concepts-heat .nf-heat").wait_for()
    assert page.locator("#concepts-heat .nf-text").inner_text() == HOSTILE
    assert page.locator("img[src='x'], #annotator script, #findings script").count() == 0


def test_compare_sets_both_encoders_side_by_side(page):
    open_tab(page, "Compare")
    page.locator("#compare").click()
    for name in ("foundation", "base"):
        note = page.locator(f"#compare-{name} .nf-note")
        note.wait_for()
        assert note.inner_text().startswith("Of 7: ")
    replace_text(page, "#compare-text", "a text of my own")
    page.locator("#compare").click()
    page.locator("#compare-base").get_by_text("entities found").wait_for()
    assert page.locator("#compare-base mark[role=button]").count() == 0


def test_see_colours_words_and_shows_a_map_to_search(page):
    open_tab(page, "See")
    page.locator("#see").click()
    page.locator("#see-panels .nf-words").nth(1).wait_for()
    colors = (
        page.locator("#see-panels .nf-words")
        .first.locator("span")
        .evaluate_all("(words) => new Set(words.map((word) => word.style.backgroundColor)).size")
    )
    assert colors > 10
    frame = page.frame_locator("#concept-map iframe")
    frame.get_by_label("Search concepts").fill("protein")
    frame.get_by_role("button", name="protein").first.wait_for()
    assert page.locator("#concept-map iframe").get_attribute("sandbox") == "allow-scripts"


def test_concepts_are_scored_without_examples(page):
    open_tab(page, "Concepts")
    assert "uncalibrated" in page.locator(".nf-badge").inner_text()
    page.locator("#concepts-text textarea").fill("Noma in Berlin")
    page.locator("#concepts-list textarea").fill("city: a town\nrestaurant")
    page.locator("#score").click()
    page.locator("#concepts-heat .nf-heat").nth(1).wait_for()
    assert page.locator("#concepts-heat h3").all_inner_texts() == ["city a town", "restaurant"]
    page.locator("#concepts-list textarea").fill(": nameless")
    page.locator("#score").click()
    page.get_by_text("has no name").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_tab_without_scrolling_sideways(open_page, scheme):
    page = open_page(width=390, height=844, has_touch=True, color_scheme=scheme)
    assert page.locator("body").evaluate("(body) => body.classList.contains('dark')") == (scheme == "dark")
    for name in ("Teach", "Compare", "See", "Concepts"):
        open_tab(page, name)
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= 390, name
    open_tab(page, "Teach")
    page.locator("#annotator mark").first.tap()
    menu = page.locator(".nf-menu:visible")
    menu.wait_for()
    box = menu.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_everything_to_press_has_a_name_and_shows_the_focus(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('#annotator, #findings')].flatMap((part) =>
          [...part.querySelectorAll('button, input, textarea, [tabindex]')]).filter((node) =>
            !(node.getAttribute('aria-label') || node.innerText || '').trim()).map((node) => node.outerHTML)"""
    )
    assert nameless == []
    page.get_by_label("Name of a new concept").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = page.evaluate(
        "() => [document.activeElement.innerText, getComputedStyle(document.activeElement).outlineStyle]"
    )
    assert focused == ["Add concept", "solid"]
