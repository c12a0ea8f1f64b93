"""What the harness reads in a notebook: tags, the parameters cell, METRICS, figures.

Conventions, tested for every notebook: one code cell tagged `parameters` holds literals only; the last code cell is
tagged `metrics` and prints `METRICS {json}`; nothing follows it but markdown tagged `footer`. In the JSON

    headline   the key whose value the run prints ("auc"); without it, the first number
    protocol   the protocol string; a full-scale run insists on it
    seconds    anything that was timed: the one key that may differ from run to run
"""

import ast
import base64
import hashlib
import json
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

from klm_utils.errors import ConfigError
from klm_utils.files import atomic_write

MARK = "METRICS "
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
FOLDED = {"setup", "parameters", "metrics"}
CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[^\n\t\x20-\x7e\xa0-\U0010ffff]")


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook, valid nbformat 4 with cell ids.

    Raises:
        ConfigError: unreadable, not JSON, or not valid nbformat.
    """
    try:
        text = path.read_text(encoding="utf8")
        notebook = json.loads(text)
        nbformat.validate(notebook)
        ids = [cell.get("id") for cell in notebook["cells"]]
        if None in ids or len(set(ids)) < len(ids):
            raise ValueError("cells without an id of their own")
    except (OSError, ValueError, RecursionError, nbformat.ValidationError) as error:
        found = next(iter(str(error).strip().splitlines()), type(error).__name__)
        remedy = "open and save it in JupyterLab, or take it from the repository again"
        expected = "valid nbformat 4.5 with unique cell ids"
        raise ConfigError("this notebook cannot be read", str(path), found, expected, remedy) from error
    return nbformat.reads(text, as_version=4)


def write(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Write a notebook whole or not at all; what stands in the way raises ConfigError."""
    text = nbformat.writes(notebook) + "\n"
    atomic_write(path, lambda part: part.write_text(text, encoding="utf8", newline="\n"), ConfigError)


def tags(cell) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def metadata(cell) -> dict:
    """Metadata of a stored cell: its tags; set-up, parameters, METRICS are folded (JupyterLab, Colab, website)."""
    mine = tags(cell)
    if cell.cell_type != "code" or not mine & FOLDED:
        return {"tags": sorted(mine)} if mine else {}
    machine = "metrics" in mine  # what it prints is for the harness
    hidden = {"source_hidden": True} | ({"outputs_hidden": True} if machine else {})
    return {
        "cellView": "form",
        "jupyter": hidden,
        "tags": sorted(mine | {"hide-cell" if machine else "hide-input"}),
    }


def content(notebook) -> list[tuple]:
    """(kind, tags, source) of each cell: what its author wrote, without outputs, ids and what editors note."""
    return [(cell.cell_type, sorted(tags(cell)), cell.source) for cell in notebook.cells]


def edition(notebook) -> str:
    """Sixteen hex digits that change with the `content`."""
    return hashlib.sha256(json.dumps(content(notebook)).encode()).hexdigest()[:16]


def is_executed_copy(notebook) -> bool:
    """Whether a run made this copy and nobody has written in it since."""
    noted = notebook.metadata.get("klm")
    return isinstance(noted, dict) and noted.get("executed") == edition(notebook)


def plain(text: str) -> str:
    """Text for a terminal: without escape sequences and control characters, which a notebook may print or raise."""
    return CONTROL.sub("", text)


def code_cells(notebook, tag: str | None = None) -> list:
    """The code cells, or those with a tag."""
    return [c for c in notebook.cells if c.cell_type == "code" and (tag is None or tag in tags(c))]


def tree(cell, where: str = "notebook") -> ast.Module:
    """The syntax tree of a code cell; IPython's magics and shell lines are calls in it.

    Raises:
        ConfigError: the cell is not Python.
    """
    try:
        return ast.parse(TransformerManager().transform_cell(cell.source))
    except (SyntaxError, ValueError, RecursionError) as error:
        where, found = f"{where}, cell {cell.id}", f"{type(error).__name__}: {error}"
        raise ConfigError("a cell cannot be read as Python", where, found, remedy="mend the cell") from error


def parameters(notebook, where: str = "notebook") -> dict:
    """Name -> value of the cell tagged `parameters`.

    Raises:
        ConfigError: not exactly one such cell, or a line in it that is not `NAME = literal`.
    """
    cells = code_cells(notebook, "parameters")
    if len(cells) != 1:
        remedy = "tag the one cell that sets the parameters"
        raise ConfigError("a notebook has one parameters cell", where, len(cells), "one code cell tagged so", remedy)
    values = {}
    for line in tree(cells[0], where).body:
        try:
            match line:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = ast.literal_eval(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    values[name] = ast.literal_eval(value)
                case _:
                    raise ValueError("no assignment to one name")
        except ValueError as error:
            what, place = "a line of the parameters cell is no literal", f"{where}, parameters cell, line {line.lineno}"
            remedy = "move whatever computes something to a later cell"
            raise ConfigError(what, place, ast.unparse(line), "NAME = literal", remedy) from error
    return values


def check_parameters(notebook, wanted: dict, where: str = "notebook") -> None:
    """Refuse a parameter that would be set without effect.

    Raises:
        ConfigError: a name that the parameters cell does not set, that no other cell reads, or that another cell sets.
    """
    declared = parameters(notebook, where)
    if not wanted:
        return  # a slip in some other cell is for the run to show
    names = [
        node
        for cell in code_cells(notebook)
        if "parameters" not in tags(cell)
        for node in ast.walk(tree(cell, where))
        if isinstance(node, ast.Name)
    ]
    read_in, set_in = ({n.id for n in names if isinstance(n.ctx, kind)} for kind in (ast.Load, ast.Store))
    for name in wanted:
        if name not in declared:
            fault, expected = "the notebook does not declare this parameter", f"one of {', '.join(declared) or 'none'}"
        elif name not in read_in:
            fault, expected = "the notebook declares this parameter and never reads it", "a cell that reads it"
        elif name in set_in:
            fault, expected = "a later cell sets this parameter again", "one place that sets it"
        else:
            continue
        raise ConfigError(fault, where, name, expected, "correct the name, or the notebook")


def metrics(notebook, where: str = "notebook") -> dict:
    """The JSON that the `metrics` cell of an executed notebook printed.

    Raises:
        ConfigError: no such cell, no METRICS line, or something else than a JSON object behind it.
    """
    text = "".join(
        output.get("text", "") for c in code_cells(notebook, "metrics") for output in c.outputs if "text" in output
    )
    lines = [line.removeprefix(MARK) for line in text.splitlines() if line.startswith(MARK)]
    try:
        (line,) = lines
        values = json.loads(line, parse_constant=_no_constant)
        if isinstance(values, dict) and values.get("headline", next(iter(values), None)) in values:
            return values
        fault = "no JSON object with a value for its headline"
    except ValueError as error:
        fault = str(error)
    found, remedy = f"{len(lines)} METRICS lines: {fault}", 'print("METRICS", json.dumps(...)) in that cell'
    expected = 'one printed line: METRICS {"headline": "auc", "auc": 0.801, ...} without NaN'
    where = f"{where}, cell tagged `metrics`"
    raise ConfigError("the METRICS of this notebook cannot be read", where, found, expected, remedy)


def headline(values: dict) -> str:
    """The one metric to show, as `auc=0.801`: the one that `headline` names, else the first number; "" if none."""
    numbers = [key for key, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    key = values.get("headline") or (numbers[0] if numbers else None)
    if key is None:
        return ""
    return f"{key}={values[key]:.3f}" if isinstance(values[key], float) else f"{key}={values[key]}"


@dataclass(frozen=True)
class Figure:
    """A PNG output: the heading above its cell and the base64 text."""

    caption: str
    png: str


def figures(notebook) -> list[Figure]:
    """The PNG outputs in order, each with the last markdown heading above it."""
    found, caption = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            fenced = False
            for line in cell.source.splitlines():
                fenced ^= line.startswith("```")
                caption = line.lstrip("# ").strip() if line.startswith("#") and not fenced else caption
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                found.append(Figure(caption, "".join(png).replace("\n", "")))
    return found


def in_few_colours(png: str) -> str:
    """A picture (PNG in base64) with 128 colours, no transparency, and a third of its bytes; as it is, if that is less.

    A drawing has few colours and the shades of its letters; a photograph would suffer.
    """
    picture = Image.open(BytesIO(base64.b64decode(png)))
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture.convert("RGBA"))
    few, made = ground.convert("RGB").quantize(128, dither=Image.Dither.NONE), BytesIO()
    few.save(made, "png", optimize=True)
    text = base64.b64encode(made.getvalue()).decode()
    return text if len(text) < len(png) else png


def _no_constant(name: str):
    raise ValueError(f"{name} is not JSON")
