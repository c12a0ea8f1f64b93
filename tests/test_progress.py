"""The bar of progress: seen by a person, gone afterwards, never in a stored notebook."""

import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from fcntl import ioctl
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import klm_utils
from klm_utils import progress

ROOT = Path(klm_utils.__file__).parents[1]
WORK = """
import time
from klm_utils import progress
print('before')
for outer in progress.Bar(range(2), 'a long piece of work', delay=0):
    for inner in progress.Bar(range(2), 'short', delay=0):
        time.sleep(0.15)
print('after')
"""


def screen(received: str) -> list[str]:
    """What a terminal shows in the end: later characters cover earlier ones, ESC [A goes a row up."""
    rows, row, column = [""], 0, 0
    for part in received.replace("\x1b[A", "\x1b").replace("\r\n", "\n"):
        if part == "\n":
            row, column = row + 1, 0
            rows += [""] * (row == len(rows))
        elif part in "\r\x1b":
            row, column = row - (part == "\x1b"), 0 if part == "\r" else column
        else:
            rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + 1 :]
            column += 1
    return [row.rstrip() for row in rows]


def run_in_a_terminal(code: str, columns: int = 80) -> str:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    received = b""
    try:
        while part := os.read(ours, 1000):
            received += part
    except OSError:  # Linux says so at the end
        pass
    finally:
        os.close(ours)
    return received.decode()


def test_a_terminal_shows_how_far_it_is_and_nothing_in_the_end():
    received = run_in_a_terminal(WORK)
    assert "a long piece of work:  50%" in received and "short:  50%" in received
    rows = screen(received)
    assert rows[:2] == ["before", "after"] and not any(rows[2:])
    assert screen(received.partition("short:  50%")[0])[1].startswith("a long piece of work"), "what a look would show"


def test_a_long_line_never_wraps():
    for row in screen(run_in_a_terminal(WORK, columns=12).partition("short")[0]):
        assert len(row) <= 12


def test_a_pipe_stays_empty():
    run = subprocess.run([sys.executable, "-c", WORK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("before\nafter\n", "")


def test_a_program_without_a_place_for_errors_goes_on():
    """pythonw of Windows has none."""
    code = "import sys; sys.stderr = None" + WORK
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "before\nafter\n"


class Person(NotebookClient):
    """A client that says, as JupyterLab does, that somebody could answer a question; keeps what was displayed."""

    seen = ()

    async def async_start_new_kernel_client(self, **kwargs):
        client = await super().async_start_new_kernel_client(**kwargs)
        client.allow_stdin = True
        return client

    def process_message(self, message, cell, cell_index):
        if message["msg_type"] in ("display_data", "update_display_data"):
            self.seen = [*self.seen, message["content"]["data"]["text/plain"]]
        return super().process_message(message, cell, cell_index)


@pytest.mark.parametrize("client", [NotebookClient, Person])
def test_nothing_is_left_in_a_notebook(client):
    notebook = new_notebook(cells=[new_code_cell(WORK)])
    runner = client(notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": str(ROOT)}})
    runner.execute()
    outputs = notebook.cells[0].outputs
    assert "".join(output.get("text", "") for output in outputs) == "before\nafter\n"
    shown = [output.data for output in outputs if output.output_type != "stream"]
    if client is Person:
        assert any(text.startswith("a long piece of work:  50%") for text in runner.seen)
        assert any(text.startswith("short:  50%") for text in runner.seen)
        assert all(data == {"text/plain": ""} for data in shown) and len(shown) == 3, "one output for each bar"
    else:
        assert shown == [], "a stored notebook must not depend on the speed"
    assert "widgets" not in notebook.metadata


class Screen:
    """A terminal that keeps what is written."""

    encoding = "utf8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def terminal(monkeypatch):
    """Called in the test itself: between a fixture and its test pytest sets its own sys.stderr."""
    monkeypatch.setattr(sys, "stderr", Screen())
    return sys.stderr


def test_a_quick_work_and_one_that_wants_no_bar_show_nothing(monkeypatch):
    shown = terminal(monkeypatch)
    assert list(progress.Bar(range(5), "quick")) == [0, 1, 2, 3, 4]
    for _ in progress.Bar(range(5), "silent", shown=False, delay=0, mininterval=0):
        assert shown.text == ""
    for _ in progress.Bar(range(5), "told", delay=0, mininterval=0):
        pass
    assert "told:  80%" in shown.text and screen(shown.text) == [""]


def test_a_bar_without_items_is_told_how_far_it_is(monkeypatch):
    shown = terminal(monkeypatch)
    with progress.Bar(text="fetching", total=83, unit=" MB", delay=0, mininterval=0) as bar:
        bar.update(40)
        assert "40/83" in shown.text
    assert screen(shown.text) == [""]


def test_an_interrupted_work_takes_its_bar_away_and_no_thread_is_left(monkeypatch):
    shown = terminal(monkeypatch)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        for _ in progress.Bar(range(5), "told", delay=0):
            raise KeyboardInterrupt
    assert "told" in shown.text and screen(shown.text) == [""]
    assert threading.active_count() == before


def test_a_line_takes_the_place_of_the_one_before(monkeypatch):
    shown = terminal(monkeypatch)
    progress.done()
    for text in ("a long line", "short"):
        progress.line(text, every=0)
    assert screen(shown.text) == ["short"]
    progress.line("too soon", every=60)
    assert screen(shown.text) == ["short"]
    progress.done()
    assert screen(shown.text) == [""]
