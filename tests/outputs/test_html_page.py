"""The report in a real browser; skipped where there is none."""

import os
import re
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from videos import RedWhenLoud, write_video

from avsegcli.inference.masks import Region
from avsegcli.outputs import html_page
from avsegcli.outputs.html_page import Report
from avsegcli.outputs.timeline import Event, Timeline
from avsegcli.segment.segmenter import Segmenter

NAMES = ("background", "dog")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    clip = write_video(folder / "a <b> & c.mp4", width=160, height=96, seconds=4, on=((1, 3),))
    Segmenter(RedWhenLoud()).segment_file(clip, report=folder / "r.html")
    assert sorted(path.name for path in folder.iterdir()) == ["a <b> & c.mp4", "r.html"]
    return folder / "r.html"


@pytest.fixture
def browser():
    if not (BROWSER and DRIVER):
        pytest.skip("there is no chromium with chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


def test_the_page_needs_no_other_file_and_no_network(page):
    text = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert "://" not in text
    assert "a &lt;b&gt; &amp; c.mp4" in text


def test_the_page_plays_and_a_click_on_it_seeks(page, browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(page.as_uri())
    wait = WebDriverWait(browser, 20)

    def video(attribute):
        return browser.execute_script(f"return document.querySelector('video').{attribute}")

    wait.until(lambda _: video("readyState") >= 1)
    assert video("videoWidth") == 160
    assert video("duration") == pytest.approx(4, abs=0.1)
    (lane,) = browser.find_elements("css selector", ".lane")
    assert lane.text == "beeper"
    ActionChains(browser).click(lane.find_element("css selector", ".track")).perform()
    assert video("currentTime") == pytest.approx(2, abs=0.05)
    browser.find_element("css selector", "tbody tr").click()
    assert video("currentTime") == pytest.approx(1, abs=0.4)
    (frame,) = browser.find_elements("css selector", "figure")
    browser.execute_script("arguments[0].click()", frame)
    assert 1 <= video("currentTime") <= 3.1
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_can_be_used_with_the_keyboard(page, browser):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(page.as_uri())
    time = "return document.querySelector('video').currentTime"
    ready = "return document.querySelector('video').readyState >= 1"
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(ready))
    slider = browser.find_element("css selector", "[role=slider]")
    slider.send_keys(Keys.END)
    slider.send_keys(Keys.ARROW_LEFT)
    assert browser.execute_script(time) == pytest.approx(3, abs=0.2)
    for place in ("tbody tr button", "figure button"):
        for key in (Keys.ENTER, Keys.SPACE):
            slider.send_keys(Keys.HOME)
            assert browser.execute_script(time) == 0
            button = browser.find_element("css selector", place)
            button.send_keys(key)
            assert browser.execute_script(time) >= 0.6
    assert button.accessible_name.startswith("beeper at 0:0")
    assert button.value_of_css_property("outline-style") == "solid"


def written(path, seconds, name="video.mp4", shown=None):
    """A page about a dog that sounds from the middle to the end of a video."""
    shown = shown or write_video(path.with_name("shown.mp4"), seconds=0.2)
    report = Report(name, "model", NAMES, [(1, 2, 3)])
    picture = av.VideoFrame.from_ndarray(np.zeros((96, 160, 3), np.uint8), "rgb24")
    report.add(0.75 * seconds, picture, [Region(1, 0.9, 1, None, None, None, None, None)])
    report.write(path, shown, [Event("dog", seconds / 2, seconds, 0.9)], seconds)
    return path


WIDEST = "return document.documentElement.scrollWidth"
OVERLAPS = """
const marks = [...document.querySelectorAll(".axis span")];
const boxes = marks.map((mark) => mark.getBoundingClientRect());
const card = document.querySelector("#timeline").getBoundingClientRect();
if (boxes.some((box) => box.left < card.left + 1 || box.right > card.right - 1)) return true;
return boxes.length < 3 || boxes.some((box, i) => i > 0 && box.left < boxes[i - 1].right + 2);
"""


def test_the_page_fits_on_phones(tmp_path, browser):
    for seconds in (3, 4.5, 10, 59.97, 9000):
        browser.get(written(tmp_path / "r.html", seconds).as_uri())
        for width in (320, 360, 390, 430, 500, 1000):
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            assert browser.execute_script(WIDEST) <= width, (seconds, width)
            wait = "return new Promise(requestAnimationFrame)"  # until it has been laid out
            browser.execute_script(wait)
            assert not browser.execute_script(OVERLAPS), (seconds, width)


def test_times_are_rounded_before_minutes_are_counted(tmp_path, browser):
    browser.get(written(tmp_path / "r.html", 59.97).as_uri())
    (row,) = browser.find_elements("css selector", "tbody tr")
    assert row.text == "dog 0:30.0 1:00.0 30.0 0.90"


def test_key_frames_have_the_shape_of_a_video_without_square_pixels(tmp_path, browser):
    with av.open(str(tmp_path / "wide.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        output.mux([*stream.encode(av.VideoFrame(160, 96, "yuv420p")), *stream.encode(None)])
    browser.get(written(tmp_path / "r.html", 4, shown=tmp_path / "wide.mp4").as_uri())
    size = browser.find_element("css selector", "figure img").size
    assert size["width"] / size["height"] == pytest.approx(320 / 96, rel=0.03)


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.mp4"), "@@VIDEO@@ <video> $title.mp4"])
def test_any_file_name_can_be_shown(tmp_path, name):
    text = written(tmp_path / "r.html", 4, name).read_text(encoding="utf-8")
    shown = name.replace("\udce9", "\N{REPLACEMENT CHARACTER}")
    assert f"<h1>{shown.replace('<', '&lt;').replace('>', '&gt;')}</h1>" in text


def key_frames(times, step=0.25, end=30.0):
    """The number of events, and the times of key frames, if a class sounds in frames at `times`."""
    picture = av.VideoFrame.from_ndarray(np.zeros((24, 32, 3), np.uint8), "rgb24")
    there = Region(1, 0.9, 1, None, None, None, None, None)
    report, timeline = Report("video", "model", NAMES, [(1, 2, 3)]), Timeline(NAMES)
    for time in np.arange(0, end, step).tolist():
        regions = [there] if time in times else []
        report.add(time, picture, regions)
        timeline.add(time, time + step, regions)
    events = timeline.events()
    return len(events), [time for _, time, _ in report._key_frames(events)]


def test_every_event_has_a_key_frame():
    assert key_frames({1.0, 1.25, 1.75, 2.0}) == (1, [1.0])  # a silence of one frame is bridged
    assert key_frames({1.0, 1.25, 2.0, 2.25}) == (2, [1.0, 2.0])
    assert key_frames({0.0, 2.0, 6.0}, step=2.0) == (2, [0.0, 6.0])


@pytest.mark.parametrize("most_kept", [5, 512])
def test_the_longest_event_of_every_class_has_a_key_frame(monkeypatch, most_kept):
    monkeypatch.setattr(html_page, "MOST_KEPT", most_kept)
    monkeypatch.setattr(html_page, "MOST_KEY_FRAMES", 3)
    classes = ("background", "dog", "bird")
    picture = av.VideoFrame.from_ndarray(np.zeros((24, 32, 3), np.uint8), "rgb24")
    report, timeline = Report("video", "model", classes, [(1, 2, 3)] * 2), Timeline(classes)
    for second in range(40):
        # The bird is heard twice early on, the dog ten times, each time for longer.
        heard = {1: second % 4 < 3, 2: second in (1, 5, 6)}
        regions = [Region(i, 0.9, 1, None, None, None, None, None) for i, on in heard.items() if on]
        report.add(second, picture, regions)
        timeline.add(second, second + 1, regions)
    frames = [(name, time) for name, time, _ in report._key_frames(timeline.events())]
    assert ("bird", 5) in frames
    assert [name for name, _ in frames].count("dog") == 2


def test_pictures_of_the_longest_events_only_are_kept(monkeypatch):
    monkeypatch.setattr(html_page, "MOST_KEPT", 3)
    monkeypatch.setattr(html_page, "MOST_KEY_FRAMES", 2)
    long = {2.0, 2.25, 10.0, 10.25}
    assert key_frames({*long, 4.0, 6.0, 8.0, 12.0, 14.0}) == (7, [2.0, 10.0])
