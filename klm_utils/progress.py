"""A bar or a line that says how far a long piece of work is; gone when it is over, from stored notebooks too.

It is silent where nobody looks: in a pipe, and in a notebook that a program executes. `tqdm.auto` is not: in a notebook
it warns where ipywidgets is missing, and leaves a widget in the stored file where it is there.
"""

import sys
from collections.abc import Iterable

from tqdm import tqdm


class Bar(tqdm):
    """A bar of tqdm, shown from the first second on.

    for batch in progress.Bar(batches, "encoding"):
        ...
    with progress.Bar(text="fetching", total=83, unit=" MB") as bar:
        bar.update(1)

    Args:
        items: what to go through.
        text: stands before the bar.
        total: how many steps there are, where `items` has no length.
        shown: False for no bar at all.
        options: of tqdm.
    """

    monitor_interval = 0  # no thread that watches: each step looks at the clock

    def __init__(
        self, items: Iterable | None = None, text: str = "", total: int | None = None, shown: bool = True, **options
    ):
        cell = _Cell() if _person_at_a_notebook() else None
        hidden = None if shown and (cell or sys.stderr) else True  # None: unless the file is a terminal
        options = {"leave": False, "file": cell, "disable": hidden, "miniters": 1, "delay": 1} | options
        super().__init__(items, text, total, **options)


class _Cell:
    """The output of a notebook's cell as a file for tqdm: each line takes the place of the one before."""

    handle = None

    def write(self, text: str) -> None:
        from IPython.display import display  # loaded already, in a notebook

        if text.startswith("\r"):  # the rest moves the cursor
            data = {"text/plain": text.strip()}
            if self.handle:
                self.handle.update(data, raw=True)
            else:
                self.handle = display(data, raw=True, display_id=True)

    def flush(self) -> None:
        """Nothing waits."""


def _person_at_a_notebook() -> bool:
    """A front end that could ask its user for input; nbclient and papermill, which store notebooks, cannot."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


_now: list[Bar] = []


def line(text: str, every: float = 0.1) -> None:
    """Show `text` in place of the line before, at most once in `every` seconds; `done()` takes it away.

    For work whose end nobody knows, such as a training that may stop early.
    """
    if not _now:
        _now.append(Bar(text=text, bar_format="{desc}", mininterval=every, delay=0))
    _now[0].mininterval = every
    _now[0].set_description_str(text, refresh=False)
    _now[0].update()


def done() -> None:
    """Take the line away."""
    while _now:
        _now.pop().close()
