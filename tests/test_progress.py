"""The line of progress: seen by a person, gone afterwards, never in a stored notebook."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import klm_utils
from klm_utils import progress

ROOT = Path(klm_utils.__file__).parents[1]
WORK = "\n".join(
    [
        "import time",
        "from klm_utils import progress",
        "print('before')",
        "for text in ('a long line of work', 'short'):",
        "    progress.line(text)",
        "    time.sleep(0.15)",
        "progress.done()",
        "print('after')",
    ]
)


def screen(received: str) -> list[str]:
    """What a terminal shows in the end: a carriage return goes back, later characters cover earlier ones."""
    rows = []
    for row in received.replace("\r\n", "\n").split("\n"):
        shown = []
        for part in row.split("\r"):
            shown[: len(part)] = part
        rows.append("".join(shown).rstrip())
    return rows


def run_in_a_terminal(code: str, columns: int = 80) -> str:
    ours, theirs = pty.openpty()
    env = os.environ | {"COLUMNS": str(columns), "PYTHONPATH": str(ROOT)}
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


def test_a_terminal_shows_each_line_in_place_of_the_one_before_and_nothing_in_the_end():
    received = run_in_a_terminal(WORK)
    assert "a long line of work" in received and "short" in received
    assert screen(received) == ["before", "after", ""]
    assert screen(received.partition("short")[0] + "short")[-1].startswith("short")


def test_a_long_line_never_wraps():
    received = run_in_a_terminal(WORK, columns=12)
    assert "a long line" in received and "of work" not in received


def test_a_pipe_stays_empty():
    run = subprocess.run([sys.executable, "-c", WORK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("before\nafter\n", "")


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
        assert runner.seen == ["a long line of work", "short", ""]
        assert shown == [{"text/plain": ""}]
    else:
        assert shown == [], "a stored notebook must not depend on the speed"


def test_quick_calls_are_skipped_and_done_may_come_alone(monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "_show", shown.append)
    progress.done()
    for n in range(1000):
        progress.line(str(n), every=60)
    progress.done()
    progress.line("again", every=60)
    progress.done()
    assert shown == ["0", "", "again", ""]
