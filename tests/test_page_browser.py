"""The HTML page in a real browser: opened, filtered, slid through, zoomed; no error, and no request leaves it."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import HOSTILE, filled, result_of
from PIL import Image

from refinery.report.page import write_page

webdriver = pytest.importorskip("selenium.webdriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="no chromium and chromedriver here: apt-get install chromium chromium-driver"
    ),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # selenium leaves sockets to its driver to the collector
]


class Page:
    """A page that is open in the browser."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, path: Path) -> Page:
        self.driver.get(path.as_uri())
        return self

    def run(self, code: str, *arguments):
        return self.driver.execute_script(f"return {code}", *arguments)

    def texts(self, selector: str) -> list[str]:
        return self.run("[...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def choose(self, name: str, value: str) -> int:
        """Choose in a filter; how many cards are shown then."""
        self.run(
            "(() => {const s = document.getElementById(arguments[0]); s.value = arguments[1];"
            "s.dispatchEvent(new Event('change'))})()",
            name,
            value,
        )
        return len(self.texts(".card"))

    def press(self, keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(keys)

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """The colour on the screen at a share of the shown pair's width and height."""
        box = self.run("document.getElementById('pair').getBoundingClientRect().toJSON()")
        with Image.open(io.BytesIO(base64.b64decode(self.driver.get_screenshot_as_base64()))) as shot:
            at = int(box["x"] + x * box["width"]), int(box["y"] + y * box["height"])
            return shot.convert("RGB").getpixel(at)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> set[str]:
        """Addresses that the page asked for, without what it holds itself."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        sent = (event["params"] for event in events if event["method"] == "Network.requestWillBeSent")
        asked = {params["request"]["url"] for params in sent if params["documentURL"] == self.driver.current_url}
        return {address for address in asked if not address.startswith("data:")}


def driver_of(folder: Path, size: tuple[int, int]):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


@pytest.fixture(params=[(1200, 900)])
def browser(tmp_path, request) -> Iterator[Page]:
    driver = driver_of(tmp_path / "profile", request.param)
    yield Page(driver)
    driver.quit()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(result_of(200), path, None, filled(200), {"iris": 1.0})
    return path


def test_the_page_opens_without_an_error_and_asks_for_nothing(browser, page_file):
    page = browser.open(page_file)
    page.click(".card")
    assert page.texts(".lead")[0].startswith("40 of 200 samples (20.0%) fail")
    assert len(page.texts(".card")) == 60
    assert page.complaints() == []
    assert page.requests() == {page_file.as_uri()}


def test_what_files_say_is_not_run(browser, tmp_path):
    path = tmp_path / "hostile.html"
    write_page(result_of(30, HOSTILE, label=HOSTILE), path, None, filled(30, HOSTILE), {HOSTILE: 1.0})
    page = browser.open(path)
    page.click(".card")
    assert page.run("document.title") != "owned"
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.texts("#viewer-title")[0].startswith(HOSTILE)
    assert page.complaints() == []
    assert page.requests() == {path.as_uri()}


def test_a_script_that_is_not_the_page_s_own_is_refused_and_nothing_can_be_loaded(browser, page_file, tmp_path):
    changed = tmp_path / "changed.html"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.png"
        added = f"<script>document.title='owned'</script><img src='{address}'>"
        changed.write_text(page_file.read_text(encoding="utf-8").replace("</main>", added + "</main>"), "utf-8")
        page = browser.open(changed)
        time.sleep(0.5)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert page.run("document.title") != "owned"
    assert len([line for line in page.complaints() if "Content Security Policy" in line]) >= 2


def test_samples_are_filtered_by_label_verdict_and_class_and_sorted(browser, page_file):
    page = browser.open(page_file)
    failed = page.choose("verdict", "fail")
    assert 0 < failed < 60
    assert all("fail; iris" in text for text in page.texts(".card"))
    assert page.texts("#count") == [f"{failed} of 60 samples shown"]
    left = page.choose("class", "left")
    assert left + page.choose("class", "right") == failed
    page.choose("class", "")
    page.choose("verdict", "")
    assert page.choose("label", "kind") == 60
    assert page.choose("verdict", "fail") == 0
    page.choose("verdict", "")
    page.choose("label", "")
    page.choose("sort", "key")
    names = page.texts(".card .name")
    assert names == sorted(names)
    page.choose("sort", "moved")
    assert "fail" in page.texts(".card")[0]
    page.choose("sort", "unsure")
    assert "abstain" in page.texts(".card")[0]


def test_the_slider_goes_from_synthetic_to_refined(browser, page_file):
    """The refined images are brighter by 0.3 of [-1, 1]: 38 levels."""
    page = browser.open(page_file)
    page.click(".card")
    for box in ("outlines", "arrows"):
        page.click(f"#{box}")
    colours = {}
    for value in (0, 50, 100):
        page.run(
            "(() => {const s = document.getElementById('slider'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))})()",
            value,
        )
        colours[value] = [page.pixel(x + 0.004, 0.405) for x in (0.25, 0.75)]
    for side in (0, 1):
        change = colours[100][side][0] - colours[0][side][0]
        assert 36 <= change <= 40
    assert colours[50] == [colours[100][0], colours[0][1]]


def test_the_viewer_by_keys_alone(browser, page_file):
    page = browser.open(page_file)
    page.run("document.querySelector('.card').focus()")
    page.press("\ue007")  # Enter
    first = page.texts("#viewer-title")[0]
    assert page.run("document.querySelectorAll('#marks path').length") > 0
    page.press("n")
    second = page.texts("#viewer-title")[0]
    assert second != first
    page.press("p")
    assert page.texts("#viewer-title") == [first]
    page.press("o")
    outlines_gone = page.run("document.querySelectorAll('#marks .was').length")
    page.press("a")
    assert (outlines_gone, page.run("document.querySelectorAll('#marks path').length")) == (0, 0)
    page.press("1")
    assert page.texts("#scale") == ["1:1"]
    assert page.run("document.getElementById('pair').getBoundingClientRect().width") == 60
    page.press("+")
    assert page.run("document.getElementById('pair').getBoundingClientRect().width") == 120
    before = int(page.run("document.getElementById('slider').value"))
    page.run("document.getElementById('stage').focus()")
    page.press("\ue014")  # right
    assert int(page.run("document.getElementById('slider').value")) == before + 5
    page.press("\ue00c")  # Esc
    assert page.run("document.getElementById('viewer').open") is False
    assert page.complaints() == []


def test_everything_that_can_be_used_has_a_name(browser, page_file):
    page = browser.open(page_file)
    page.click(".card")
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {"button", "checkbox", "slider", "combobox", "image", "img", "dialog", "link", "region"}
    nodes = [node for node in tree if not node["ignored"] and node["role"]["value"] in named]
    assert len(nodes) > 10
    assert [node["role"]["value"] for node in nodes if not node.get("name", {}).get("value")] == []


def contrast(first: list[float], second: list[float]) -> float:
    """The ratio of WCAG 2."""

    def luminance(colour: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_light_and_dark_can_both_be_read(browser, page_file):
    page = browser.open(page_file)
    papers = []
    for _ in ("light", "dark"):
        paper = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        for selector in (".lead", ".note", ".chart figcaption", ".legend li", "td"):
            ink = page.run(
                "getComputedStyle(document.querySelector(arguments[0])).color.match(/\\d+/g).map(Number)", selector
            )
            assert contrast(ink, paper) >= 4.5, (selector, ink, paper)
        papers.append(sum(paper))
        page.click("#theme")
    assert papers[0] > 600 > 200 > papers[1]


@pytest.mark.parametrize("browser", [(500, 800)], indirect=True)
def test_on_a_phone_nothing_sticks_out(browser, page_file):
    page = browser
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    page.open(page_file)
    assert page.run("document.documentElement.scrollWidth") <= 360
    page.click(".card")
    box = page.run("document.getElementById('viewer').getBoundingClientRect().toJSON()")
    assert box["left"] >= 0
    assert box["right"] <= 360
