"""`python -m klm_utils lab`: JupyterLab in my/, a folder of the learner's own that git ignores.

my/ has a copy of every student notebook. One that is there is never touched again: what the learner wrote stays,
whatever `git pull` brings. Each copy notes the edition it was made from, so that a newer one is noticed and can be had.
"""

import os
from pathlib import Path

from jupyterlab.labapp import LabApp

from klm_utils.course import HERE, require_root
from klm_utils.course.notebook import read, write
from klm_utils.course.run import kernel_environment
from klm_utils.course.student import edition_of, links_one_folder_up
from klm_utils.errors import ConfigError


def main(rest: list[str]) -> int:
    """Fill my/ and start JupyterLab there; `rest` are options of JupyterLab, such as --no-browser."""
    root = require_root()
    for line in fill(root):
        print(line, flush=True)
    os.environ.update(environment())
    # The server's root is the checkout, so that links to data/ and docs/ open.
    LabApp.launch_instance([f"--ServerApp.root_dir={root}", "--LabApp.default_url=/lab/tree/my", *rest])
    return 0


def environment() -> dict[str, str]:
    """The environment of this JupyterLab: its kernels are this Python, and it asks no question about news."""
    paths = [str(HERE / "jupyter"), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    ours = {"JUPYTER_PREFER_ENV_PATH": "1"}  # not a kernel that a user installed under the same name
    return ours | kernel_environment() | {"JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def fill(root: Path) -> list[str]:
    """Copy to my/ the student copies that are not there; returns a line for each that was copied or has a new edition.

    Raises:
        ConfigError: there are no student copies, or my/ cannot be written.
    """
    lines, paths = [], sorted((root / "notebooks" / "student").glob("*.ipynb"))
    if not paths:
        folder, remedy = root / "notebooks" / "student", "python -m klm_utils student"
        raise ConfigError("there are no student copies", str(folder), remedy=remedy)
    for path in paths:
        mine = root / "my" / path.name
        if mine.exists() or mine.is_symlink():
            lines += _news(path, mine)
            continue
        notebook = read(path)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = links_one_folder_up(cell.source)
        write(mine, notebook)
        lines.append(f"my/{mine.name}: copied, yours to write in")
    return lines


def _news(path: Path, mine: Path) -> list[str]:
    """A line if the learner's notebook was made from another edition than the course has now."""
    try:
        was, now = edition_of(read(mine)), edition_of(read(path))
    except ConfigError as error:
        return [f"my/{mine.name}: left as it is, but {error}"]
    if was in (None, now):
        return []
    remedy = "give yours another name and start again to get both"
    return [f"my/{mine.name}: left as it is; the course has a newer edition: {remedy}"]
