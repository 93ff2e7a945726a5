"""Facts about `seg.page`: read by a parser, and by a browser as wide as a phone."""

import base64
import json
import math
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from seg import page
from seg.contracts import Scores
from seg.evaluate import strata, summarize, write_rows
from seg.figures.pictures import write_png
from seg.runfolder import write_json

CONFIG = "dataset:\n  name: lungs\nmodel:\n  name: unet\n  note: <script>alert(1)</script>\n"
CURVES = "epoch,lr/learning_rate,train/loss,val/loss\n1,0.1,0.9,0.8\n2,0.1,0.7,0.6\n"
VOID = {"meta", "img", "br", "link"}


class Read(HTMLParser):
    """What a page consists of.

    Attributes:
        elements: (tag, attributes), in order.
        text: of all elements but style.
        cells: text of each cell of a table, by rows.
        headings: text of h1 and h2.
    """

    def __init__(self, path):
        super().__init__()
        self.elements, self.text, self.cells, self.headings, self._open = [], "", [[]], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag in ("h1", "h2", "summary"):
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if {"td", "th"} & {*self._open}:
            self.cells[-1][-1] += data
        if {"h1", "h2", "summary"} & {*self._open}:
            self.headings[-1] += data


def case(name, dice, truth_px=100, **more):
    about = {"case": name, "patient": name, **more, "slices": 2, "truth_px": truth_px}
    about |= {"predicted_px": 50, "truth_ml": truth_px / 10}
    scores = dict.fromkeys(Scores.names(), dice) | {"lesion_sensitivity": math.nan}
    return about | scores | {"hd95_mm": 12.3456, "dice": dice}


def picture(path, seed=0, size=(40, 60, 3)):
    write_png(path, np.random.default_rng(seed).integers(0, 256, size, np.uint8))


@pytest.fixture
def finished(tmp_path):
    """Folder of a run that was trained and tested; one of its patients is called <b>."""
    folder = tmp_path / "20300101-120000-abcdef"
    folder.mkdir()
    rows = [case(f"p{i}", 0.1 * i, 10 * i) for i in range(1, 8)]
    rows += [case("<b>", math.nan, 0), case("NA", 0.5)]
    summary = {"best/epoch": 2, "best/train_loss": 0.7, "best/val_loss": 0.6}
    summary |= {"train/images_per_s": 123.456789, "infer/threshold": 0.35, "infer/fill_holes": 1.0}
    summary |= summarize(rows[:5], "val") | {"val/dice_plain": 0.2468}
    write_json(folder / "summary.json", summary | summarize(rows, "test"))
    write_rows(rows, folder / "cases.csv")
    strata(rows).to_csv(folder / "strata.csv", index=False)
    (folder / "history.csv").write_text(CURVES)
    (folder / "config.yaml").write_text(CONFIG)
    tags = {"mlflow.source.git.commit": "0123abcd" * 5, "git.dirty": "true", "python": "3.11.7"}
    origin = {"overrides": ["model=unet", "dataset.labels={a:1}"], "tags": tags}
    write_json(folder / "provenance.json", origin)
    side = {"digest": "d1" * 18, "patients": 9, "cases": 9, "slices": 18, "slices_with_target": 16}
    write_json(folder / "data.json", {"test": side})
    write_json(folder / "splits.json", {"train": {}, "valid": {}, "test": {}, "leaks": []})
    for seed, name in enumerate(("contact_sheet", "test_dice", "loss", "mine")):
        picture(folder / "figures" / f"{name}.png", seed)
    return folder


def test_it_is_one_file_in_the_run_s_folder(finished):
    before = {path for path in finished.rglob("*")}
    assert page.write(finished) == finished / "report.html"
    assert {*finished.rglob("*")} - before == {finished / "report.html"}
    Read(finished / "report.html")


def test_every_number_of_the_summary_is_shown(finished):
    cells = [row for row in Read(page.write(finished)).cells if len(row) == 2]
    summary = json.loads((finished / "summary.json").read_text())
    assert len(summary) > 100
    for key, value in summary.items():
        said = "undefined" if value is None else f"{value:.6g}"
        assert [key, said] in cells, key


def test_the_headlines_are_dice_with_its_interval(finished):
    read, summary = Read(page.write(finished)), json.loads((finished / "summary.json").read_text())
    for side, word in (("test", "Test"), ("val", "Validation")):
        mean, low, high = (summary[f"{side}/dice{end}"] for end in ("", "_ci_low", "_ci_high"))
        words = f"{word} Dice {mean:.3f} 95% interval {low:.3f} to {high:.3f}"
        assert words in " ".join(read.text.split())


def test_nothing_is_asked_of_a_network(finished):
    read = Read(page.write(finished))
    for tag, attributes in read.elements:
        assert tag not in ("script", "link", "iframe", "object", "a")
        assert attributes.get("src", "data:").startswith("data:")
        assert "href" not in attributes
    text = (finished / "report.html").read_text()
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_what_a_run_says_is_text_never_markup(finished):
    read = Read(page.write(finished))
    assert ["<b>", "<b>"] in [row[:2] for row in read.cells]
    assert "<script>alert(1)</script>" in read.text
    assert "<script" not in (finished / "report.html").read_text()


def test_every_case_has_a_row_in_the_order_of_cases_csv(finished):
    rows = [row for row in Read(page.write(finished)).cells if len(row) > 12]
    head, *cases = rows
    assert [row[0] for row in cases] == [*(f"p{i}" for i in range(1, 8)), "<b>", "NA"]
    dice, hd95 = head.index("dice"), head.index("hd95 (mm)")
    assert [row[dice] for row in cases[-2:]] == ["undefined", "0.500"]
    assert cases[0][hd95] == "12.35"


def test_pictures_are_in_the_page_as_they_are_in_the_folder(finished):
    read = Read(page.write(finished))
    shown = {a["alt"]: a["src"] for tag, a in read.elements if tag == "img"}
    names = [f"figures/{name}.png" for name in ("contact_sheet", "test_dice", "loss", "mine")]
    assert [*shown] == names
    for name, source in shown.items():
        content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert content == (finished / name).read_bytes()


def test_a_page_stays_small_and_says_where_other_pictures_lie(finished):
    """The first two of 1.1 MB each leave room for neither the third nor the fourth of 1 MB."""
    for seed, name in enumerate(("contact_sheet", "test_dice", "loss")):
        picture(finished / "figures" / f"{name}.png", seed, (600, 610, 3))
    read = Read(page.write(finished))
    assert (finished / "report.html").stat().st_size < 3e6
    shown = [a["alt"] for tag, a in read.elements if tag == "img"]
    assert shown == ["figures/contact_sheet.png", "figures/mine.png"]
    assert "figures/test_dice.png" in read.text
    assert "figures/loss.png" in read.text


@pytest.mark.parametrize("leaks", [[], ["p1"], [f"p{i}" for i in range(30)]])
def test_leakage_is_warned_of(finished, leaks):
    write_json(finished / "splits.json", {"leaks": leaks})
    read = Read(page.write(finished))
    warnings = [attributes for _, attributes in read.elements if attributes.get("role") == "alert"]
    assert len(warnings) == bool(leaks)
    assert ("Data leakage" in read.text) == bool(leaks)
    if leaks:
        assert f"split: {len(leaks)} (p" in read.text
        assert ("p19, ..." in read.text) == (len(leaks) == 30)


def test_it_says_where_the_numbers_come_from(finished):
    read = Read(page.write(finished))
    assert read.headings[0] == "lungs · unet"
    assert "python -m seg.run model=unet 'dataset.labels={a:1}'" in read.text
    assert ["commit", "0123abcd" * 5] in read.cells
    assert ["test", "d1" * 18, "9", "9", "18", "16"] in read.cells
    assert "0.247" in read.text
    assert ["threshold", "0.35"] in read.cells
    assert ["holes filled", "yes"] in read.cells
    assert any(row and row[0].startswith("large, ") for row in read.cells)
    assert CONFIG in read.text


SECTIONS = {
    "summary.json": {"How masks are made", "Scores", "All numbers"},
    "strata.csv": {"Dice by size of the target"},
    "figures/contact_sheet.png": {"Best, median and worst cases"},
    "figures/mine.png": {"More figures"},
    "data.json": {"Data"},
    "provenance.json": {"Origin"},
    "config.yaml": {"Config", "lungs · unet"},
    "splits.json": set(),
    "history.csv": set(),
}


@pytest.mark.parametrize("name", SECTIONS)
def test_what_is_missing_is_left_out(finished, name):
    whole = Read(page.write(finished)).headings
    (finished / name).unlink()
    read = Read(page.write(finished))
    assert {*whole} - {*read.headings} == SECTIONS[name]
    assert {*read.headings} - {*whole} == ({"run"} if name == "config.yaml" else set())


def test_a_run_that_was_only_trained_has_no_scores_on_its_page(finished):
    for name in ("cases.csv", "strata.csv", "figures/contact_sheet.png", "figures/test_dice.png"):
        (finished / name).unlink()
    write_json(finished / "summary.json", {"best/epoch": 2, "best/train_loss": 0.7})
    headings = Read(page.write(finished)).headings
    assert headings == [
        *("lungs · unet", "Training", "More figures", "Data", "Origin"),
        *("All numbers", "Config"),
    ]


def test_a_description_of_data_shows_its_numbers_and_pictures(tmp_path):
    write_json(tmp_path / "summary.json", {"data/train_patients": 24})
    picture(tmp_path / "describe" / "statistics.png")
    picture(tmp_path / "describe" / "samples_train.png")
    picture(tmp_path / "summary" / "architecture.png")
    read = Read(page.write(tmp_path))
    assert read.headings == ["run", "Model", "Data", "All numbers"]
    assert [a for tag, a in read.elements if tag == "details"] == [{"open": None}]
    shown = [a["alt"] for tag, a in read.elements if tag == "img"]
    described = [f"describe/{name}.png" for name in ("statistics", "samples_train")]
    assert sorted(shown) == sorted(["summary/architecture.png", *described])
    assert [name for name in shown if name in described] == described


def test_an_empty_folder_has_an_empty_page(tmp_path):
    read = Read(page.write(tmp_path))
    assert read.headings == ["run"]
    assert read.cells == [[]]


def test_a_table_of_classes_names_the_class_of_each_row(finished):
    rows = [case(f"p{i}", 0.1 * i, 10 * i, **{"class": c}) for i in range(8) for c in ("a", "<i>")]
    write_rows(rows, finished / "cases.csv")
    write_json(finished / "summary.json", summarize(rows, "test"))
    read = Read(page.write(finished))
    assert ["p1", "p1", "<i>"] in [row[:3] for row in read.cells]
    assert "dice of <i>" in {row[0] for row in read.cells if row}


# In a browser


@pytest.fixture
def crowded(finished):
    """The page of a run with long names and pictures wider than a phone."""
    names = [f"{'TCGA_CS_4941_19960909_' * 4}{i}" for i in range(8)]
    rows = [case(n, 0.1 * i, 10 * i, **{"class": "left_lung" * 5}) for i, n in enumerate(names)]
    write_rows(rows, finished / "cases.csv")
    strata(rows).to_csv(finished / "strata.csv", index=False)
    write_json(finished / "summary.json", summarize(rows, "test") | summarize(rows, "val"))
    write_json(finished / "splits.json", {"leaks": names})
    picture(finished / "figures" / "contact_sheet.png", size=(100, 1284, 3))
    (finished / "config.yaml").write_text(CONFIG + f"paths: {'x' * 300}\n")
    return page.write(finished)


def test_on_a_phone_nothing_is_wider_than_the_page(browser, crowded):
    emulate = browser.execute_cdp_cmd
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    emulate("Emulation.setDeviceMetricsOverride", size)
    browser.get(crowded.as_uri())
    widths = "return [document.documentElement.scrollWidth, ...[...document.images].map("
    widths += "i => i.getBoundingClientRect().right)]"
    for closed in (True, False):
        found = browser.execute_script(widths)
        assert max(found) <= 390
        assert len(found) == 5
        assert browser.execute_script("return document.images[0].naturalWidth") == 1284
        if closed:
            browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = 1)")
    scrolled = "return [...document.querySelectorAll('.tall')].map(e => e.scrollWidth)"
    assert min(browser.execute_script(scrolled)) > 390
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_config_is_folded_on_a_screen_and_open_on_paper(browser, finished):
    browser.get(page.write(finished).as_uri())
    seen = "return document.querySelector('details pre').checkVisibility()"
    assert browser.execute_script(seen) is False
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    for _ in range(50):
        if browser.execute_script(seen):
            break
        time.sleep(0.1)
    assert browser.execute_script(seen) is True
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
