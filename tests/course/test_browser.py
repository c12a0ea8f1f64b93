"""A learner's hour in a real browser: JupyterLab as `make lab` starts it, in a clone of this checkout's last commit."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from klm_utils.__main__ import main
from klm_utils.course.lab import fill
from klm_utils.course.notebook import METADATA

webdriver = pytest.importorskip("selenium.webdriver")
CSS, KEYS = "css selector", webdriver.Keys
CHROMIUM, DRIVER, GIT = shutil.which("chromium"), shutil.which("chromedriver"), Path(__file__).parents[2] / ".git"
reason = "needs chromium, chromedriver, git and a clone of the course"
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER and shutil.which("git") and GIT.exists()), reason=reason)
FLAGS = """headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking
disable-component-update disable-sync window-size=1400,1000"""
ANSWER = f"""def my_score(c, b_user, b_film, P, Q):
return c + b_user + b_film + P @ Q.T
{KEYS.BACKSPACE}exercises.ch00.check_score(my_score)"""  # as typed: the editor indents
FIT = """import klm_utils as klm
split = klm.split(klm.load_dataset("shop"), "random")
model = klm.KLMRecommender.from_split(split, encoder=None)
print("it begins:", "now")
klm.fit(model, split, klm.TrainConfig(epochs=100_000, patience=100_000))"""


def wait(what):
    """The first value that is true; the limit is for a crowded machine."""
    end = time.monotonic() + 240
    while not (value := what()):
        assert time.monotonic() < end, "the browser waited in vain"
        time.sleep(0.2)
    return value


def git(folder, *arguments) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.check_output(["git", *who, *arguments], cwd=folder, text=True)


def python(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, env=environment)


@pytest.fixture(scope="module")
def clones(checkout, tmp_path_factory):
    upstream, learner = (tmp_path_factory.mktemp("clones") / name for name in ("upstream", "a learner"))
    git(checkout, "clone", "-q", str(checkout), str(upstream))
    git(checkout, "clone", "-q", str(upstream), str(learner))
    return upstream, learner


class Page:
    """The browser's page of JupyterLab, and what a learner does with it."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    def open(self, name):
        """A notebook of my/, until its kernel is ready."""
        self.browser.get(self.address % name)
        state = "return window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
        wait(lambda: name in self.browser.title and self.browser.execute_script(state) == "idle")

    def cell(self, number):
        self.browser.execute_script(f"window.jupyterapp.shell.currentWidget.content.scrollToItem({number}, 'center')")
        box = wait(lambda: self.browser.find_elements(CSS, f".jp-Cell[data-windowed-list-index='{number}']"))[0]
        if folded := box.find_elements(CSS, ".jp-InputPlaceholder"):  # the set-up
            folded[0].click()
        wait(lambda: box.find_elements(CSS, ".cm-content"))[0].click()

    def type(self, *keys):
        self.browser.switch_to.active_element.send_keys(*keys)

    def shows(self, text) -> bool:
        return text in self.browser.find_element(CSS, "body").text


@pytest.fixture(scope="module")
def page(clones, tmp_path_factory):
    """JupyterLab of the learner's clone, with nobody's settings."""
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder / name))
        options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=sesame"]
        server = python(clones[1], "klm_utils", "lab", *options, "--expose-app-in-browser")
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS.split(), f"user-data-dir={folder / 'chromium'}"]:
        options.add_argument(f"--{flag}")
    try:
        wait((folder / "JUPYTER_RUNTIME_DIR" / f"jpserver-{server.pid}.json").exists)  # it serves
        with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as browser:
            # JupyterLab's current page is the one with the focus, which a headless browser need not have.
            browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
            yield Page(browser, f"http://127.0.0.1:{port}/lab/tree/my/%s?reset&token=sesame")
    finally:
        server.terminate()
        server.wait(60)


def test_answer_check_save_and_pull(clones, page, monkeypatch):
    upstream, learner = clones
    mine = learner / "my" / "00_tour.ipynb"
    page.open(mine.name)
    stub = next(i for i, c in enumerate(nbformat.read(mine, 4).cells) if c.source.startswith("def my_score"))
    page.cell(1)
    page.type(KEYS.SHIFT + KEYS.ENTER)
    page.cell(stub)
    page.type(KEYS.CONTROL + "a" + KEYS.NULL, ANSWER, KEYS.SHIFT + KEYS.ENTER)
    wait(lambda: page.shows("[OK] one score for each user and film"))
    page.type(KEYS.CONTROL + "s")
    wait(lambda: "[OK] one score" in mine.read_text(encoding="utf8"))
    assert git(learner, "status", "--porcelain") == ""
    assert not page.shows("Jupyter news"), "no question before one has begun"

    solved = upstream / "notebooks" / "00_tour.ipynb"
    solved.write_text(solved.read_text(encoding="utf8").replace("## 1. A table", "## 1. The table"), encoding="utf8")
    monkeypatch.chdir(upstream)
    assert main(["student"]) == 0
    git(upstream, "commit", "-qam", "another heading")
    git(learner, "pull", "-q", "--ff-only")
    assert "P @ Q.T" in nbformat.read(mine, 4).cells[stub].source
    assert any("my/00_tour.ipynb: left as it is; the course has a newer edition" in line for line in fill(learner))
    monkeypatch.chdir(learner)
    assert main(["student", "--check"]) == 0
    assert python(learner, "pytest", "-q", "tests/notebooks/test_hygiene.py", "-k", "student").wait() == 0
    assert git(learner, "status", "--porcelain") == ""


def test_the_stop_button_stops_run_all(clones, page):
    path = clones[1] / "my" / "stop.ipynb"
    nbformat.write(new_notebook(cells=[*map(new_code_cell, (FIT, "print(6 * 7)"))], metadata=METADATA), path)
    page.open(path.name)
    page.browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    wait(lambda: page.shows("it begins: now"))
    time.sleep(3)
    page.browser.find_element(CSS, "[data-command='notebook:interrupt-kernel']").click()
    wait(lambda: page.shows("Idle"))
    page.type(KEYS.CONTROL + "s")
    first, second = wait(lambda: (cells := nbformat.read(path, 4).cells)[0].outputs and cells)
    assert any(output.get("ename") == "KeyboardInterrupt" for output in first.outputs)
    assert second.outputs == [] and second.execution_count is None
