"""A small course in a folder of its own, for the tests of the harness."""

from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

METRICS = 'print("METRICS", json.dumps({"headline": "auc", "auc": 0.75 + EPOCHS / 100, "protocol": "made up"}))'


class Course:
    """A checkout with `notebooks/` and a file of scales. The folder's name has a space, as a user's may."""

    def __init__(self, root: Path):
        self.root, self.notebooks, self.scales = root, root / "notebooks", root / "scales.yaml"
        self.notebooks.mkdir(parents=True)
        (root / "pyproject.toml").write_text('[tool.klm]\nrepository = "some/course"\nbranch = "main"\n')
        self.entries = {}

    def add(self, name: str, *code: str, parameters: str = "EPOCHS = 5", metrics: str = METRICS, **entry) -> Path:
        """A notebook of a parameters cell, the cells of `code` and a metrics cell, with its entry of scales."""
        cells = [
            new_markdown_cell(f"# {name}"),
            new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            new_code_cell("import json"),
            *[cell if isinstance(cell, dict) else new_code_cell(cell) for cell in code],
            new_code_cell(metrics, metadata={"tags": ["metrics"]}),
        ]
        path = self.notebooks / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        self.entries[name] = entry
        timeout = {"smoke": 30, "default": 60, "full": 60}
        self.scales.write_text(yaml.safe_dump({"timeout": timeout, "notebooks": self.entries}))
        return path


@pytest.fixture
def course(tmp_path) -> Course:
    """A new small course."""
    return Course(tmp_path / "a course")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of this repository."""
    return Path(__file__).parents[1]
