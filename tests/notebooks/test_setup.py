"""What a notebook must do so that it runs on a GPU and beside other programs, and that these checks see it."""

import ast
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from klm_utils.course.notebook import code_cells, read, tree

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def imports(notebook):
    """The packages that the notebook imports, in order."""
    for cell in code_cells(notebook):
        for node in ast.walk(tree(cell)):
            if isinstance(node, ast.Import):
                yield from (name.name.split(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module.split(".")[0]


def stranded(notebook):
    """Calls of the language model of an encoder with tensors that nothing has moved to its device.

    `encoder.encode` and `encoder.forward` move them; a notebook that calls `encoder.model(...)` itself must say `.to(`
    in the same cell for each name that it passes.
    """
    for cell in code_cells(notebook):
        moved = {
            name.id
            for node in ast.walk(tree(cell))
            if isinstance(node, ast.Assign) and ".to(" in ast.unparse(node.value)
            for target in node.targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        for node in ast.walk(tree(cell)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "model":
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                names = {name.id for value in given for name in ast.walk(value) if isinstance(name, ast.Name)}
                if names - moved:
                    yield ast.unparse(node)


def test_they_run_on_a_gpu():
    assert {path.name: found for path in NOTEBOOKS if (found := list(stranded(read(path))))} == {}


def test_klm_utils_comes_before_torch_so_that_threads_sleep_while_they_wait():
    names = {path.name: list(imports(read(path))) for path in NOTEBOOKS}
    late = [
        path for path, found in names.items() if "torch" in found and "klm_utils" not in found[: found.index("torch")]
    ]
    assert late == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("batch = tokenizer(texts)\nh = enc.model(**batch)", ["enc.model(**batch)"]),
        ("batch = tokenizer(texts).to(enc.model.device)\nh = enc.model(**batch)", []),
        (
            "a, b = (torch.tensor(t) for t in texts)\nprint(enc.model(a), enc.model(b))",
            ["enc.model(a)", "enc.model(b)"],
        ),
    ],
)
def test_a_tensor_left_behind_is_found(code, found):
    assert list(stranded(new_notebook(cells=[new_code_cell(code)]))) == found
