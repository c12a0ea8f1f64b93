"""How long a notebook takes to read: `python -m klm_utils minutes`.

Prose and code are read at 120 words a minute (the reader's first language is another one); a formula that stands apart
and a table cost a minute more. Exercises have the minutes that their cards say.
"""

import re
from math import ceil
from typing import NamedTuple

from klm_utils.course import require_root
from klm_utils.course.notebook import FOLDED, read, tags

WORDS = 120
BESIDES = FOLDED | {"exercise", "hint", "solution", "footer"}


class Minutes(NamedTuple):
    """Whole minutes: sections marked core or not at all, sections marked more, the cards of the exercises."""

    core: int
    more: int
    exercises: int


def main() -> int:
    """Print the minutes of each solved notebook."""
    print(f"{'':28}{'core':>6}{'more':>6}{'exercises':>11}")
    for path in sorted((require_root() / "notebooks").glob("*.ipynb")):
        found = minutes(read(path))
        print(f"{path.stem:28}{found.core:6}{found.more:6}{found.exercises:11}")
    return 0


def minutes(notebook) -> Minutes:
    """The minutes of an executed notebook (its tables are in the outputs), each part rounded up."""
    found, part = {"core": 0.0, "more": 0.0}, "core"
    for cell in notebook.cells:
        if tags(cell) & BESIDES:
            continue
        if cell.cell_type == "code":
            tables = sum("text/html" in output.get("data", {}) for output in cell.outputs)
            found[part] += _words(cell.source) / WORDS + tables
            continue
        for section in re.split(r"(?m)^(?=## )", cell.source):
            if section.startswith("## "):
                part = "more" if section.partition("\n")[0].rstrip().endswith("· more") else "core"
            prose, formulas = re.subn(r"\$\$.*?\$\$", "", section, flags=re.S)
            tables = len(re.findall(r"(?m)^\|[ :|-]+\|$", section))
            found[part] += _words(re.sub(r"\]\([^)]*\)", "]", prose)) / WORDS + formulas + tables
    cards = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown" and "exercise" in tags(c))
    exercises = sum(int(number) for number in re.findall(r"· (\d+) minutes?", cards))
    return Minutes(ceil(found["core"]), ceil(found["more"]), exercises)


def said(header: str) -> Minutes:
    """The minutes that a notebook's first cell promises; -1 for what it does not say."""
    wanted = (r"(\d+) to read", r"(\d+) for what is marked \*more\*", r"(\d+) for the exercises")
    line = next((line for line in header.splitlines() if line.startswith("| **Minutes**")), "")
    numbers = [re.search(pattern, line) for pattern in wanted]
    return Minutes(*(int(found[1]) if found else -1 for found in numbers))


def _words(text: str) -> int:
    return len(re.findall(r"[\w'’.]+", text))
