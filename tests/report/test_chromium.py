"""The page in a real browser: opened from disk, looked at, searched, listened to."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from phonoscope.pipeline import browse

from .planted_features import PARAMS, SITE, write_interpretation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver from the system's packages"
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,1100"),
)
PLAY_BUTTON_PX = 22  # from the left edge of the audio element


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browse")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_interpretation()
        browse.run(PARAMS, SITE)
    return folder / "plots/browse" / SITE / "index.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER, env=dict(os.environ)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(chromium: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    chromium.get("about:blank")
    chromium.get_log("browser")  # reading the log empties it
    chromium.get(page.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []


def texts(driver: webdriver.Chrome, selector: str) -> list[str]:
    return [element.text for element in driver.find_elements(By.CSS_SELECTOR, selector)]


def pixels(image: bytes, mode: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(image)).convert(mode), dtype=float)


def test_the_page_opens_from_disk(opened: webdriver.Chrome) -> None:
    assert opened.title == f"{SITE}: features"
    assert "12 features, 1 of them never active; 3 of 3 phones" in texts(opened, "#headline")[0]
    assert "clips for 2 features, left out for the other 10" in texts(opened, "#headline")[0]
    assert len(texts(opened, "#rows tr")) == 12
    assert pixels(opened.get_screenshot_as_png(), "L").std() > 10


@pytest.mark.parametrize(
    ("query", "features"),
    [
        ("S precision>0.9", ["1"]),
        ("s auroc>0.9", ["1"]),
        ("7", ["7"]),
        ("auroc>0.9 density > 0.1", ["0", "1", "2"]),
        ("nothing", []),
        ("effect<0", ["1", "0"]),
    ],
)
def test_search_filters_the_table(opened: webdriver.Chrome, query: str, features: list[str]) -> None:
    opened.find_element(By.ID, "search").send_keys(query)
    assert sorted(texts(opened, "#rows a")) == sorted(features)
    assert texts(opened, "#count") == [f"{len(features)} of 12 features"]


def test_search_finds_the_words_of_the_windows(opened: webdriver.Chrome) -> None:
    opened.find_element(By.ID, "search").send_keys("sat")
    assert "0" in texts(opened, "#rows a")
    opened.find_element(By.ID, "causal-only").click()
    assert texts(opened, "#rows a") == ["0"]


def test_columns_sort_both_ways(opened: webdriver.Chrome) -> None:
    button = opened.find_element(By.CSS_SELECTOR, "th[data-key=density] button")
    orders = []
    for direction in ("descending", "ascending"):
        button.click()
        assert opened.find_element(By.CSS_SELECTOR, "th[aria-sort]").get_attribute("aria-sort") == direction
        orders.append([float(text.split()[0]) for text in texts(opened, "#rows td:nth-child(2)")])
    assert orders[0] == sorted(orders[0], reverse=True)
    assert orders[1] == sorted(orders[0])


def test_a_feature_opens_by_keyboard_with_all_that_is_known_of_it(opened: webdriver.Chrome) -> None:
    opened.find_element(By.TAG_NAME, "body").send_keys("/")
    assert opened.switch_to.active_element.get_attribute("id") == "search"
    opened.switch_to.active_element.send_keys("auroc>0.9")
    opened.find_element(By.CSS_SELECTOR, "#rows a").send_keys(Keys.ARROW_DOWN)
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    WebDriverWait(opened, 10).until(lambda driver: texts(driver, "#feature h2"))
    assert texts(opened, "#feature h2") == ["Feature 1"]
    assert opened.switch_to.active_element.get_attribute("id") == "feature"
    facts = " ".join(texts(opened, "#feature dd"))
    assert "not shown causal" in facts
    assert "1.000 (1.000)" in facts
    bars = opened.find_elements(By.CSS_SELECTOR, ".bars div")
    best = [bar for bar in bars if bar.get_attribute("class") == "best"]
    assert [str(bar.get_attribute("title")).split(":")[0] for bar in best] == ["S"]
    assert len(bars) == 4


def test_a_clip_plays_beside_its_spectrogram(opened: webdriver.Chrome) -> None:
    opened.find_element(By.ID, "search").send_keys("0")
    opened.find_element(By.CSS_SELECTOR, "#rows a").click()
    WebDriverWait(opened, 10).until(lambda driver: texts(driver, "#clips figure"))
    assert len(texts(opened, "#clips figure")) == 4
    assert texts(opened, "figcaption strong")[0].startswith("1. AA")
    audio = opened.find_element(By.CSS_SELECTOR, "#clips audio")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", audio)
    left_of_centre = PLAY_BUTTON_PX - audio.size["width"] // 2
    ActionChains(opened).move_to_element_with_offset(audio, left_of_centre, 0).click().perform()
    WebDriverWait(opened, 20).until(lambda driver: float(str(audio.get_property("currentTime"))) > 0.1)
    assert audio.get_property("duration") == pytest.approx(1.0)
    assert audio.get_property("error") is None
    WebDriverWait(opened, 20).until(lambda driver: audio.get_property("ended"))
    picture = opened.find_element(By.CSS_SELECTOR, "#clips .picture")
    opened.execute_script("arguments[0].scrollIntoView()", picture)
    colours = pixels(picture.screenshot_as_png, "RGB")
    assert colours[..., 0].std() > 20
    orange = (colours[..., 0] > 180) & (colours[..., 2] < 90)
    columns = np.flatnonzero(orange[: len(orange) // 4].any(axis=0))
    assert abs(np.median(columns) - colours.shape[1] / 2) < 0.05 * colours.shape[1]


def test_a_feature_without_clips_lists_its_windows(opened: webdriver.Chrome, page: Path) -> None:
    opened.get(f"{page.as_uri()}#feature-2")
    WebDriverWait(opened, 10).until(lambda driver: texts(driver, "#feature h2") == ["Feature 2"])
    assert not opened.find_elements(By.TAG_NAME, "audio")
    assert "interpret.clip_features" in texts(opened, "#feature .notice")[0]
    assert len(texts(opened, "#windows tbody tr")) == 4
    opened.get(f"{page.as_uri()}#feature-5")
    WebDriverWait(opened, 10).until(lambda driver: texts(driver, "#feature h2") == ["Feature 5"])
    assert "active nowhere" in texts(opened, "#feature .notice")[0]


def test_nothing_is_loaded_from_the_network(opened: webdriver.Chrome, page: Path) -> None:
    loaded = opened.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith((page.parent.as_uri(), "data:")) for name in loaded)
    for file in ("index.html", "browse.js", "browse.css"):
        text = (page.parent / file).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text
