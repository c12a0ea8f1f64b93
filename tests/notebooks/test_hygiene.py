"""What every committed notebook must be like, and that each of these checks sees what it is there to see."""

import copy
import json
import re
import runpy
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from klm_utils.course import setting
from klm_utils.course.minutes import minutes, said
from klm_utils.course.notebook import check_parameters, code_cells, figures, metrics, parameters, read, tags
from klm_utils.course.notebook import metadata as stored_metadata
from klm_utils.course.run import execute, fetch_assets
from klm_utils.course.scales import load, plan
from klm_utils.course.student import is_same, notebooks
from klm_utils.errors import ConfigError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STUDENTS = sorted((ROOT / "notebooks" / "student").glob("*.ipynb"))
SETTING = setting(ROOT)
BESIDES = {"exercise", "hint", "solution"}  # cells with these tags do not count against the budget
ABSOLUTE = re.compile(r"(?<![\w.:/<>~)\]*$}-])/(?:[\w.-]+/)+[\w.-]*|\b[A-Za-z]:\\\w")
MIME = {"text/plain", "text/html", "text/markdown", "text/latex", "image/png"}
OWN = SETTING["repository"].split("/")[1]  # a link that names the course is a link to us, and must be right


def budgets(notebook, path):
    """40 small cells (04 has 60, the tour 25), 25 lines, 220 words, 400 KB of outputs."""
    own = [cell for cell in notebook.cells if not tags(cell) & BESIDES]
    if len(own) > (limit := {"04": 60, "00": 25}.get(path.name[:2], 40)):
        yield f"{len(own)} cells besides exercises, {limit} are allowed"
    for cell in notebook.cells:
        lines, words = [line for line in cell.source.splitlines() if line.strip()], cell.source.split()
        if cell.cell_type == "code" and len(lines) > 25:
            yield f"cell {cell.id}: {len(lines)} lines of code, 25 are allowed"
        if cell.cell_type == "markdown" and len(words) > 220:
            yield f"cell {cell.id}: {len(words)} words, 220 are allowed"
    if (size := sum(len(json.dumps(cell.outputs)) for cell in code_cells(notebook))) >= 400_000:
        yield f"{size} bytes of outputs, 400,000 are too many"


def executed_in_sequence(notebook, path):
    """Executed once from top to bottom, without an error."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts {counts}"
    yield from (f"cell {c.id}: error output" for c in code_cells(notebook) if "error" in kinds(c))


def kinds(cell):
    """The kinds of a code cell's outputs."""
    return {output.output_type for output in cell.outputs}


def no_absolute_path(notebook, path):
    """Neither in a source nor in the text of an output."""
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        shown = [o.get("text", "") for o in outputs]
        shown += [text for o in outputs for mime, text in o.get("data", {}).items() if mime.startswith("text/")]
        for text in [cell.source, *shown]:
            yield from (f"cell {cell.id}: absolute path {hit[0]!r}" for hit in ABSOLUTE.finditer(text))


def metadata(notebook, path):
    """Tags, the folds of set-up, parameters and METRICS, and nothing that a widget, papermill or an editor left."""
    if left := set(notebook.metadata) - {"kernelspec", "language_info"}:
        yield f"metadata {sorted(left)}"
    for cell in notebook.cells:
        if cell.metadata != stored_metadata(cell):
            yield f"cell {cell.id}: metadata {dict(cell.metadata)}"
    if "setup" not in tags(code_cells(notebook)[0]):
        yield "the first code cell is not tagged setup"


def frame(notebook, path):
    """Parameters are literals; the metrics cell is the last code cell, and only the footer follows it."""
    parameters(notebook)
    metrics(notebook)
    where = [i for i, cell in enumerate(notebook.cells) if "metrics" in tags(cell)]
    if len(where) != 1:
        yield f"{len(where)} cells tagged metrics"
    for cell in notebook.cells[where[-1] + 1 :]:
        if cell.cell_type != "markdown" or "footer" not in tags(cell):
            yield f"cell {cell.id} follows the metrics and is not markdown tagged footer"


def figures_are_png(notebook, path):
    """Outputs are text, tables or PNG: nothing that GitHub cannot show or that differs from run to run."""
    for cell in code_cells(notebook):
        if other := {mime for output in cell.outputs for mime in output.get("data", {})} - MIME:
            yield f"cell {cell.id}: output of type {sorted(other)}"


def exercises_are_complete(notebook, path):
    """Card, then code with the checker's call."""
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        if cell.cell_type == "code" and "exercise" in tags(cell):
            if before is None or before.cell_type != "markdown" or "exercise" not in tags(before):
                yield f"cell {cell.id}: no card before the exercise"
            if not re.search(r"exercises\.ch\d\d\.check_\w+\(", cell.source):
                yield f"cell {cell.id}: no call of exercises.chNN.check_..."


def reading(notebook, path):
    """The header's minutes are those of the text; sections are marked core or more; the core fits 45 minutes."""
    found, promised = minutes(notebook), said(notebook.cells[0].source)
    if found.core > 45:
        yield f"{found.core} minutes of core"
    if (found.core, found.more or -1, found.exercises) != promised:
        yield f"the header says {promised}, the text has {found}"
    for heading in re.findall(r"(?m)^## \d.*$", "\n".join(markdown(notebook))):
        if not heading.endswith(("· core", "· more")):
            yield f"{heading!r} is neither core nor more"


def page(notebook, path):
    """Eight pictures; 120 decimals besides cells tagged `result`; no line that scrolls; no value under a checker."""
    if (pictures := len(figures(notebook))) < (least := 6 if path.name.startswith("00") else 8):
        yield f"{pictures} pictures, {least} are the least"
    decimals = 0
    for cell in code_cells(notebook):
        yield from (f"cell {cell.id}: {len(line)} characters" for line in cell.source.splitlines() if len(line) > 96)
        shown = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
        if "exercise" in tags(cell) and "execute_result" in kinds(cell):
            yield f"cell {cell.id}: a value under a checker"
        if not tags(cell) & {"result", "metrics"}:
            decimals += sum(len(re.findall(r"\d*\.\d+", text)) for text in shown)
    if decimals > 120:
        yield f"{decimals} decimals are printed"


def article_comes_last(notebook, path):
    """Its name and its E-numbers stand in one section near the end and nowhere else."""
    text = "\n".join(markdown(notebook))
    before, title, _ = text.partition("## What the article gets wrong here")
    if not title:
        yield "no section on the article"
    yield from (f"{number} before that section" for number in re.findall(r"\bE\d{1,2}\b", before))


def links(notebook, path):
    """Links to ourselves name repository, branch and a file that exists; a badge opens this very notebook."""
    text = "\n".join(cell.source for cell in notebook.cells)
    me = path.relative_to(ROOT).as_posix()
    badge = f"https://colab.research.google.com/github/{SETTING['repository']}/blob/{SETTING['branch']}/{me}"
    if badge not in text:
        yield f"no Colab badge for {badge}"
    for host, repository, rest in re.findall(
        r"https://(github\.com|colab\.research\.google\.com/github)/([\w.-]+/[\w.-]+?)(?:\.git)?([/@][^\s)\"'<>]*)?(?=[\s)\"'<>]|$)",
        text,
    ):
        if "colab" not in host and repository.split("/")[1] != OWN:
            continue  # somebody else's repository
        kind, _, target = rest.strip("/").partition("/")
        branch, _, file = target.partition("/")
        if repository != SETTING["repository"]:
            yield f"link to repository {repository}"
        elif rest.startswith("@") and rest != f"@{SETTING['branch']}":
            yield f"link to {rest}"
        elif kind in ("blob", "tree", "raw") and (branch != SETTING["branch"] or not (ROOT / file).exists()):
            yield f"link to {target}"
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", "\n".join(markdown(notebook))):
        if not (path.parent / target).exists():
            yield f"link to {target}, which is not there"


def markdown(notebook):
    """Sources of the markdown cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def scales_are_used(notebook, path):
    """Every parameter that scales.yaml overrides is declared and read."""
    entry = load()["notebooks"][path.stem]
    for scale in ("smoke", "full"):
        if "skip" not in (wanted := entry.get(scale, {})):
            check_parameters(notebook, wanted, f"scale {scale}")


CHECKS = [
    reading,
    page,
    article_comes_last,
    budgets,
    executed_in_sequence,
    no_absolute_path,
    metadata,
    frame,
    figures_are_png,
    exercises_are_complete,
    links,
    scales_are_used,
]


read_once = cache(read)


def faults(check, notebook, path):
    try:
        return list(check(notebook, path) or [])
    except ConfigError as error:
        return [str(error)]


def all_faults(check, paths):
    """One line for each, with the notebook's name; "" if there is none."""
    return "\n".join(f"{path.name}: {fault}" for path in paths for fault in faults(check, read_once(path), path))


def test_the_notebooks_are_here_and_have_scales():
    names = {path.stem for path in NOTEBOOKS}
    assert {"00_tour", "05_end_to_end_training"} <= names
    assert names == set(load()["notebooks"])
    assert {path.stem for path in STUDENTS} == names


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_notebooks(check):
    assert not (found := all_faults(check, NOTEBOOKS)), found


def without_a_trace_of_a_run(notebook, path):
    """Neither outputs nor counts."""
    yield from (f"cell {c.id} was run" for c in code_cells(notebook) if c.outputs or c.execution_count is not None)


@pytest.mark.parametrize(
    "check", [links, no_absolute_path, budgets, without_a_trace_of_a_run], ids=lambda check: check.__name__
)
def test_the_student_copies(check):
    assert not (found := all_faults(check, STUDENTS)), found


def test_the_student_copies_are_what_the_generator_makes():
    wanted = notebooks(ROOT)
    assert set(STUDENTS) == set(wanted)
    differ = [path.name for path in STUDENTS if not is_same(path, wanted[path])]
    assert not differ, f"{', '.join(differ)}: run python -m klm_utils student"


def test_the_same_result_from_every_folder(tmp_path):
    """The tour at smoke scale, twice; well under a minute."""
    jobs, _ = plan(ROOT / "notebooks", tmp_path, ["00_tour"], "smoke")
    fetch_assets(jobs)
    folders = [ROOT / "notebooks", tmp_path / "a folder"]
    folders[1].mkdir()
    runs = [replace(jobs[0], cwd=cwd, output=tmp_path / str(i) / "tour.ipynb") for i, cwd in enumerate(folders)]
    results = execute(runs)
    assert [result.error for result in results] == ["", ""]
    first, second = ({k: v for k, v in result.metrics.items() if k != "seconds"} for result in results)
    assert first == second


def test_nbval_stops_what_hangs_and_not_what_is_slow():
    line = next(line for line in (ROOT / "Makefile").read_text(encoding="utf8").splitlines() if "--nbval-lax" in line)
    assert int(re.search(r"cell-timeout=(\d+)", line)[1]) >= 1800 and "kernel-startup-timeout=600" in line
    cell = SimpleNamespace(output_timeout=5)
    runpy.run_path(str(ROOT / "notebooks" / "conftest.py"))["pytest_collection_modifyitems"]([cell])
    assert cell.output_timeout >= 600


# --- Each check sees what it is there to see: a good notebook, and one fault at a time.

TOUR = ROOT / "notebooks" / "00_tour.ipynb"


@pytest.fixture
def good():
    """A notebook without a fault, under the name of the tour."""
    badge = f"https://colab.research.google.com/github/{SETTING['repository']}/blob/{SETTING['branch']}/notebooks"
    shown = [new_output("stream", text='METRICS {"a": 1}')]
    code = [
        new_code_cell("import klm_utils", metadata={"tags": ["setup"]}),
        new_code_cell("SEED = 0", metadata={"tags": ["parameters"]}),
        new_code_cell("print(SEED)", outputs=[new_output("stream", text="0.5 and/or 1/2/3")]),
        new_code_cell("exercises.ch00.check_sum(f)", metadata={"tags": ["exercise"]}),
        new_code_cell("print(metrics)", metadata={"tags": ["metrics"]}, outputs=shown),
    ]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
    code[2].outputs += [new_output("display_data", data={"image/png": "x"})] * 8
    text = (
        f"# [badge]({badge}/00_tour.ipynb) $a/b$ [paper](https://github.com/other/x/blob/dev/y)",
        "| **Minutes** | 1 to read, 3 for the exercises |",
        "## 1. A film · core",
        "## What the article gets wrong here",
        "E1 and E2.",
    )
    title = new_markdown_cell("\n".join(text))
    card = new_markdown_cell("> **Exercise** · write · 3 minutes", metadata={"tags": ["exercise"]})
    footer = new_markdown_cell("The end.", metadata={"tags": ["footer"]})
    notebook = new_notebook(cells=[title, *code[:3], card, *code[3:], footer])
    for cell in notebook.cells:
        cell.metadata = stored_metadata(cell)
    return notebook


def append(source, make=new_code_cell, **other):
    return lambda nb: nb.cells.append(make(source, **other))


def output(kind, **content):
    return lambda nb: nb.cells[3].outputs.append(new_output(kind, **content))


def change(index, **values):
    return lambda nb: nb.cells[index].update(values)


def edit(index, text):
    return lambda nb: nb.cells[index].update(source=nb.cells[index].source + text)


COLAB = f"https://colab.research.google.com/github/{SETTING['repository']}"
WRONG = [
    (reading, edit(0, " word" * 121), "the header says"),
    (reading, edit(0, "\n## 2. Facts · more"), "the header says"),
    (reading, change(4, source="> 4 minutes"), "the header says"),
    (reading, edit(0, " word" * 5401), "minutes of core"),
    (reading, edit(0, "\n## 2. Facts"), "neither core nor more"),
    (page, lambda nb: nb.cells[3].outputs.clear(), "0 pictures"),
    (page, output("stream", text=".5 " * 121), "decimals are printed"),
    (page, edit(3, "\n# " + "x" * 96), "98 characters"),
    (page, lambda nb: nb.cells[5].outputs.append(new_output("execute_result")), "under a checker"),
    (article_comes_last, change(0, source="# E17"), "E17"),
    (article_comes_last, change(0, source="# E17"), "no section"),
    (budgets, lambda nb: nb.cells.extend(new_markdown_cell("x") for _ in range(25)), "cells besides"),
    (budgets, change(3, source="x = 1\n" * 26), "26 lines"),
    (budgets, change(0, source="word " * 221), "221 words"),
    (budgets, output("stream", text="x" * 400_000), "bytes of outputs"),
    (executed_in_sequence, change(3, execution_count=7), "execution counts"),
    (executed_in_sequence, change(3, execution_count=None), "execution counts"),
    (executed_in_sequence, output("error", ename="E", evalue="", traceback=[]), "error output"),
    (no_absolute_path, output("stream", text="saved in /" + "home/ann/klm.json"), "absolute path"),
    (no_absolute_path, output("display_data", data={"text/html": "<td>'/" + "opt/x/y'</td>"}), "absolute path"),
    (no_absolute_path, edit(3, "\nopen('/" + "content/data/x.csv')"), "absolute path"),
    (no_absolute_path, edit(3, "\nopen('C:" + "\\Users\\ann')"), "absolute path"),
    (metadata, lambda nb: nb.metadata.update(widgets={}), "widgets"),
    (metadata, lambda nb: nb.metadata.update(papermill={}), "papermill"),
    (metadata, lambda nb: nb.cells[2].metadata.update(papermill={}), "papermill"),
    (frame, change(2, metadata={}), "parameters cell"),
    (frame, edit(2, "\nA = 2 * 3"), "literal"),
    (frame, lambda nb: nb.cells[6].outputs.clear(), "METRICS"),
    (frame, append("late = 1"), "follows the metrics"),
    (frame, append("late", new_markdown_cell), "follows the metrics"),
    (figures_are_png, output("display_data", data={"image/svg+xml": "<svg/>"}), "svg"),
    (exercises_are_complete, change(4, metadata={}), "no card"),
    (exercises_are_complete, change(5, source="check(f)"), "no call"),
    (links, change(0, source="# no badge"), "no Colab badge"),
    (links, edit(0, f" {COLAB}/blob/old/notebooks/00_tour.ipynb"), "link to old"),
    (links, edit(0, f" {COLAB}/blob/{SETTING['branch']}/notebooks/99.ipynb"), "99.ipynb"),
    (links, edit(0, " https://colab.research.google.com/github/ann/fork/blob/main/x.ipynb"), "ann/fork"),
    (links, edit(0, f" https://github.com/ann/{OWN}"), f"ann/{OWN}"),
    (links, edit(3, f"\n'git+https://github.com/{SETTING['repository']}@old'"), "link to @old"),
    (links, edit(0, " [x](../nowhere.md)"), "nowhere"),
]


def test_a_good_notebook_has_no_faults(good):
    nbformat.validate(good)
    for check in CHECKS:
        if check is not scales_are_used:  # tested with the runner
            assert faults(check, good, TOUR) == []


@pytest.mark.parametrize(("check", "spoil", "message"), WRONG, ids=[f"{c.__name__}-{m}" for c, _, m in WRONG])
def test_a_fault_is_seen(good, check, spoil, message):
    spoiled = copy.deepcopy(good)
    spoil(spoiled)
    assert any(message in fault for fault in faults(check, spoiled, TOUR))
    assert not any(message in fault for fault in faults(check, good, TOUR))
