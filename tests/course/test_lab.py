import os
import subprocess
import sys
import tomllib

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell

from klm_utils.__main__ import main
from klm_utils.course import lab
from klm_utils.course.lab import fill
from klm_utils.course.notebook import read
from klm_utils.errors import ConfigError
from klm_utils.threads import SLEEPING


@pytest.fixture
def learner(course, monkeypatch):
    """A course of two notebooks with their student copies; we are in its folder."""
    course.add(
        "00_first", new_markdown_cell('[data](../data/card.md) <img src="../docs/a.png"> [next](01_second.ipynb)')
    )
    course.add("01_second")
    monkeypatch.chdir(course.root)
    assert main(["student"]) == 0
    return course


def revise(course, name):
    """The course gives out another edition of one notebook."""
    path = course.notebooks / f"{name}.ipynb"
    path.write_text(path.read_text().replace("import json", "import json, math"))
    assert main(["student"]) == 0


def test_a_copy_that_is_there_is_never_touched_and_one_that_is_not_is_made(learner):
    assert len(fill(learner.root)) == 2
    mine = learner.root / "my" / "00_first.ipynb"
    notebook = nbformat.read(mine, 4)
    notebook.cells[2].source = "my_answer = 42"
    nbformat.write(notebook, mine)
    (learner.root / "my" / "01_second.ipynb").unlink()
    before = mine.read_bytes()
    assert fill(learner.root) == ["my/01_second.ipynb: copied, yours to write in"]
    assert mine.read_bytes() == before and fill(learner.root) == []


def test_a_newer_edition_is_told_and_comes_beside_a_copy_that_was_renamed(learner):
    fill(learner.root)
    mine = learner.root / "my" / "00_first.ipynb"
    before = mine.read_bytes()
    revise(learner, "00_first")
    (line,) = fill(learner.root)
    assert (
        line.startswith("my/00_first.ipynb: left as it is; the course has a newer edition") and "another name" in line
    )
    assert mine.read_bytes() == before
    mine.rename(mine.with_name("00_first of May.ipynb"))
    assert fill(learner.root) == ["my/00_first.ipynb: copied, yours to write in"]
    assert "math" in mine.read_text() and mine.with_name("00_first of May.ipynb").read_bytes() == before
    assert fill(learner.root) == []


def test_links_lead_to_the_same_files_from_my(learner):
    fill(learner.root)
    source = read(learner.root / "my" / "00_first.ipynb").cells[3].source
    assert source == '[data](../data/card.md) <img src="../docs/a.png"> [next](01_second.ipynb)'


def test_a_broken_notebook_or_link_of_the_learner_stays_and_the_rest_is_copied(learner):
    (learner.root / "my").mkdir()
    broken, link = (learner.root / "my" / name for name in ("00_first.ipynb", "01_second.ipynb"))
    broken.write_text("<<<<<<< HEAD")
    link.symlink_to("nowhere")
    lines = fill(learner.root)
    assert [line.split(":")[0] for line in lines] == ["my/00_first.ipynb", "my/01_second.ipynb"]
    assert all("left as it is" in line for line in lines)
    assert broken.read_text() == "<<<<<<< HEAD" and link.is_symlink()


def test_without_copies_or_a_place_for_them_it_says_so(course, monkeypatch, capsys):
    course.add("00_first")
    monkeypatch.chdir(course.root)
    with pytest.raises(ConfigError, match="no student copies"):
        fill(course.root)
    main(["student"])
    (course.root / "my").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot write"):
        fill(course.root)


def test_jupyterlab_starts_in_my_without_news_and_with_the_options_given(learner, monkeypatch):
    given = []
    monkeypatch.setattr(lab.LabApp, "launch_instance", given.extend)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert main(["lab", "--no-browser", "--port", "8890"]) == 0
    assert given[0] == f"--ServerApp.root_dir={learner.root}" and given[-3:] == ["--no-browser", "--port", "8890"]
    assert "--LabApp.default_url=/lab/tree/my" in given
    assert SLEEPING.items() <= os.environ.items() and str(lab.__file__).startswith(
        os.environ["PYTHONPATH"].split(":")[0]
    )


def test_git_pytest_ruff_and_clean_leave_my_alone(checkout):
    def ran(*command):
        return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)

    if not (checkout / ".git").exists():
        pytest.skip("no git here")
    assert ran("git", "check-ignore", "my/00_tour.ipynb").returncode == 0
    files = ran(sys.executable, "-m", "ruff", "check", "--show-settings", ".").stdout
    assert '"my"' in files.split("file_resolver.extend_exclude")[1].split("]")[0]
    settings = tomllib.loads((checkout / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests"]
    assert "-path ./my" in (checkout / "Makefile").read_text(), "make clean deletes no checkpoint of the learner"
