"""One line that says how far a long piece of work is. It is gone when the work is over, from stored notebooks too.

It is silent where nobody looks: in a pipe, and in a notebook that a program executes.
"""

import shutil
import sys
import time

_now = {}  # the line on the screen: "time" it was written, and its "width" (terminal) or "handle" (notebook)


def line(text: str, every: float = 0.1) -> None:
    """Show `text` in place of the line before, at most once in `every` seconds; `done()` takes it away.

    try:
        for n, batch in enumerate(batches):
            work(batch)
            progress.line(f"{n} of {len(batches)} batches")
    finally:
        progress.done()
    """
    if time.monotonic() - _now.get("time", -every) >= every:
        _show(text)
        _now["time"] = time.monotonic()


def done() -> None:
    """Take the line away; nothing happens where none was shown."""
    if "time" in _now:
        _show("")
        _now.clear()


def _show(text: str) -> None:
    if _person_at_a_notebook():
        from IPython.display import display  # loaded already, in a notebook

        data = {"text/plain": text}
        if handle := _now.get("handle"):
            handle.update(data, raw=True)
        else:
            _now["handle"] = display(data, raw=True, display_id=True)
    elif sys.stderr and sys.stderr.isatty():
        text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be taken back
        print(f"\r{text:{_now.get('width', 0)}}", end="" if text else "\r", file=sys.stderr, flush=True)
        _now["width"] = len(text)


def _person_at_a_notebook() -> bool:
    """A front end that could ask its user for input; nbclient and papermill, which store notebooks, cannot."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))
