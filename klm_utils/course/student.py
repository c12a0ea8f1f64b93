"""Student copies: notebooks/student/NN.ipynb, made from the solved notebooks and never edited.

An exercise in a solved notebook is, in this order,

1. a markdown cell tagged `exercise`: the card (difficulty, minutes, what to do);
2. a code cell tagged `exercise`: the solved code and the checker's call. What the learner must write stands between
   `# STUB ...` and `# END SOLUTION`, indented like the code around them; the student copy has there what follows
   `# STUB `, with a comment behind it. Several STUB lines in a row make a stub of several lines:

       def my_masked_mean(hidden, mask):
           # STUB return hidden[:, 0]
           weight = mask.unsqueeze(-1)
           return (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)
           # END SOLUTION

       exercises.ch02.check_masked_mean(my_masked_mean)

3. if wanted, a markdown cell tagged `hint`, folded in `<details>`, in both copies as it is.

The student copy has the solution behind the hint, folded, made from cell 2: one source for both. A code cell tagged
`solution` is in the student copy a fold as well, without a stub (code that only makes sense once the exercise is
solved); a markdown cell tagged `solution`, folded by its author, is in both copies (an exercise with pen and paper).
"""

import re
from pathlib import Path

import nbformat

from klm_utils.course import require_root, setting
from klm_utils.course.notebook import METADATA, code_cells, edition, metadata, read, tags, write
from klm_utils.errors import ConfigError

STUB = re.compile(r"^( *)# STUB (.*)$", re.M)
REGION = re.compile(r"((?:^ *# STUB [^\n]*\n)+)(.*?)^ *# END SOLUTION *(?:\n|\Z)", re.M | re.S)
REPLACE = "  # replace this line"


def main(check: bool = False, force: bool = False) -> int:
    """Write the student copies, or with `check` only name those that differ; 1 if any differs, else 0.

    What differs in metadata only, as after opening and saving in JupyterLab, does not differ.

    Raises:
        ConfigError: somebody has edited a copy that would be replaced or deleted, and not `force`; nothing is written.
    """
    root = require_root()
    wanted = notebooks(root)
    folder = root / "notebooks" / "student"
    differ = [path for path, notebook in wanted.items() if not is_same(path, notebook)]
    stale = [path for path in sorted(folder.glob("*.ipynb")) if path not in wanted]
    edited = [path.name for path in differ + stale if path.exists() and not is_generated(path)]
    if edited and not check and not force:
        keep = "move what you want to keep to my/ (`python -m klm_utils lab` makes that folder)"
        remedy = f"{keep}, or discard it: python -m klm_utils student --force"
        raise ConfigError("edited student copies would be lost", str(folder), edited, remedy=remedy)
    for path in differ + stale:
        state = "has no solved notebook" if path in stale else "differs" if path.exists() else "is missing"
        print(f"{path.relative_to(root)} {state}" + ("" if check else ": mended"))
    if check:
        return int(bool(differ or stale))
    for path in differ:
        write(path, wanted[path])
    for path in stale:
        try:
            path.unlink()
        except OSError as error:
            raise ConfigError("cannot delete", str(path), str(error), remedy="delete it yourself") from error
    print(f"{len(wanted)} student copies in {folder.relative_to(root)}")
    return 0


def notebooks(root: Path) -> dict[Path, nbformat.NotebookNode]:
    """Path of each student copy -> the notebook it must be."""
    branch = setting(root).get("branch", "main")
    return {
        path.parent / "student" / path.name: build(read(path), path.name, branch)
        for path in sorted((root / "notebooks").glob("*.ipynb"))
    }


def edition_of(notebook) -> str | None:
    """The edition that the generator noted in a student copy; a copy in my/ keeps it. None if there is none."""
    noted = notebook.metadata.get("klm", {})
    return noted.get("edition") if isinstance(noted, dict) else None


def is_generated(path: Path) -> bool:
    """Whether the generator wrote this file, now or earlier, and nobody has changed or run a cell of it since."""
    try:
        notebook = read(path)
    except ConfigError:
        return False
    return edition_of(notebook) == edition(notebook) and not any(cell.outputs for cell in code_cells(notebook))


def is_same(path: Path, notebook) -> bool:
    """Whether the file at `path` is this student copy, but for what an editor notes in its metadata."""
    return path.exists() and is_generated(path) and edition_of(read(path)) == edition_of(notebook)


def build(solved, where: str = "notebook", branch: str = "main") -> nbformat.NotebookNode:
    """The student copy of a solved notebook: stubs, folded solutions, no outputs; the same input, the same bytes.

    Raises:
        ConfigError: an exercise cell without a stub, or a stub without an end.
    """
    cells: list[dict] = []
    fold: dict | None = None
    for cell in solved.cells:
        if fold is not None and "hint" not in tags(cell):
            cells.append(fold)
            fold = None
        if cell.cell_type != "code":
            cells.append(_cell(cell, links_for_student(cell.source, branch)))
            continue
        place = f"{where}, cell {cell.id}"
        if "exercise" in tags(cell):
            stub, solution = split_solution(cell.source, place)
            fold = _fold(cell, solution)
            cells.append(_cell(cell, stub))
        elif "solution" in tags(cell):
            cells.append(_fold(cell, cell.source))
        else:
            cells.append(_cell(cell, cell.source))
    cells += [fold] if fold is not None else []
    copy = nbformat.from_dict({"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})
    copy.metadata = {"klm": {"edition": edition(copy)}} | copy.metadata
    return copy


def split_solution(source: str, where: str = "cell") -> tuple[str, str]:
    """(what the student gets, the solution) from the source of a solved exercise cell.

    Raises:
        ConfigError: no STUB, or a STUB without END SOLUTION.
    """
    student = REGION.sub(lambda found: STUB.sub(rf"\1\2{REPLACE}", found[1]), source)
    solution = REGION.sub(r"\2", source)
    left = [mark for mark in ("# STUB", "# END SOLUTION") if mark in solution + student]
    if left or student == source:
        found = f"{left[0]} without its counterpart" if left else "no # STUB line"
        expected = "# STUB <line that runs>, the solution, # END SOLUTION"
        remedy = "mark it; see the docstring of klm_utils.course.student"
        raise ConfigError("an exercise cell whose solution is not marked", where, found, expected, remedy)
    return student.rstrip("\n"), solution.rstrip("\n")


def links_for_student(text: str, branch: str) -> str:
    """Links of a markdown cell as they must be one folder further down, with badges that open the student copy."""
    text = re.sub(rf"(/blob/{re.escape(branch)}/notebooks/)(?=[\w.-]+\.ipynb)", r"\1student/", text)
    return re.sub(r"""(\]\(|(?:src|href)=["'])\.\./""", r"\1../../", text)


def links_one_folder_up(text: str) -> str:
    """Links of a markdown cell of a student copy as they must be in my/, which lies beside notebooks/."""
    return re.sub(r"""(\]\(|(?:src|href)=["'])\.\./\.\./""", r"\1../", text)


def _cell(cell, source: str) -> dict:
    copy = {"cell_type": cell.cell_type, "id": cell.id, "metadata": metadata(cell), "source": source}
    return copy | ({"execution_count": None, "outputs": []} if cell.cell_type == "code" else {})


def _fold(cell, code: str) -> dict:
    source = f"<details><summary>Solution</summary>\n\n```python\n{code.strip()}\n```\n\n</details>"
    name = f"{cell.id[:55]}-solution"
    return {"cell_type": "markdown", "id": name, "metadata": {"tags": ["solution"]}, "source": source}
