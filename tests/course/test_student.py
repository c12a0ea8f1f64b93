import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from klm_utils.__main__ import main
from klm_utils.course.notebook import METADATA, metadata, read
from klm_utils.course.run import execute
from klm_utils.course.scales import plan
from klm_utils.course.student import build, links_for_student, split_solution
from klm_utils.errors import ConfigError

SOLVED = """def double(x):
    # STUB print("nothing yet")
    # STUB return x
    y = 2 * x
    return y
    # END SOLUTION


print("RIGHT" if double(2) == 4 else "WRONG")"""
STUB = """def double(x):
    print("nothing yet")  # replace this line
    return x  # replace this line


print("RIGHT" if double(2) == 4 else "WRONG")"""
CLEAN = """def double(x):
    y = 2 * x
    return y


print("RIGHT" if double(2) == 4 else "WRONG")"""


def tagged(make, source, tag, **other):
    return make(source, metadata={"tags": [tag], **other})


@pytest.fixture
def exercise(course):
    """A course of one notebook with an exercise, stored as executed."""
    path = course.add(
        "00_first",
        new_markdown_cell(
            "[Colab](https://colab.research.google.com/github/some/course/blob/main/notebooks/00_first.ipynb)"
            " [data](../data/card.md) [next](01_second.ipynb)"
        ),
        tagged(new_markdown_cell, "> **Exercise 0.1** · 5 minutes", "exercise"),
        tagged(new_code_cell, SOLVED, "exercise", scrolled=True),
        tagged(new_markdown_cell, "<details><summary>Hint</summary>\n\nTwice.\n\n</details>", "hint"),
        tagged(new_code_cell, "print('only when solved')", "solution"),
    )
    notebook = nbformat.read(path, 4)
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = number
        cell.outputs = [new_output("stream", text="an output")]
    notebook.metadata["widgets"] = {"left": "over"}
    nbformat.write(notebook, path)
    return course


FOLDS = {"hide-input", "hide-cell"}


def student(course):
    return read(course.notebooks / "student" / "00_first.ipynb")


def sources(notebook, tag):
    return [c.source for c in notebook.cells if tag in c.metadata.get("tags", [])]


def test_the_student_gets_stub_hint_and_folded_solution(exercise, monkeypatch):
    monkeypatch.chdir(exercise.root)
    assert main(["student"]) == 0
    made = student(exercise)
    assert sources(made, "exercise") == ["> **Exercise 0.1** · 5 minutes", STUB]
    first, second = sources(made, "solution")
    assert CLEAN in first and "# STUB" not in first and first.startswith("<details>")
    assert "only when solved" in second
    kinds = [" ".join(sorted(set(c.metadata["tags"]) - FOLDS)) for c in made.cells if c.metadata.get("tags")]
    assert kinds == ["parameters", "exercise", "exercise", "hint", "solution", "solution", "metrics"]


def test_nothing_of_a_run_is_left(exercise, monkeypatch):
    monkeypatch.chdir(exercise.root)
    main(["student"])
    made = student(exercise)
    code = [c for c in made.cells if c.cell_type == "code"]
    assert all(c.execution_count is None and c.outputs == [] for c in code)
    assert set(made.metadata) == {"kernelspec", "language_info", "klm"}
    assert all(c.metadata == metadata(c) for c in made.cells)


def test_what_only_the_machine_reads_is_folded_and_the_learners_cells_are_not(exercise, monkeypatch):
    monkeypatch.chdir(exercise.root)
    main(["student"])
    folded = {
        " ".join(sorted(set(c.metadata.tags) - FOLDS)): c.metadata
        for c in student(exercise).cells
        if "jupyter" in c.metadata
    }
    assert set(folded) == {"parameters", "metrics"}
    assert folded["parameters"]["jupyter"] == {"source_hidden": True} and "hide-input" in folded["parameters"]["tags"]
    assert folded["metrics"]["jupyter"]["outputs_hidden"] and folded["metrics"]["cellView"] == "form"


def test_links_lead_to_the_same_files_from_the_student_folder(exercise, monkeypatch):
    monkeypatch.chdir(exercise.root)
    main(["student"])
    links = next(c.source for c in student(exercise).cells if "Colab" in c.source)
    assert "/blob/main/notebooks/student/00_first.ipynb" in links
    assert "(../../data/card.md)" in links and "(01_second.ipynb)" in links
    assert links_for_student('<img src="../docs/a.png">', "main") == '<img src="../../docs/a.png">'
    other = "https://example.org/blob/other/notebooks/00_first.ipynb"
    assert links_for_student(other, "main") == other


def test_made_twice_it_is_the_same_to_the_byte_and_check_names_what_differs(exercise, monkeypatch, capsys):
    monkeypatch.chdir(exercise.root)
    path = exercise.notebooks / "student" / "00_first.ipynb"
    assert main(["student", "--check"]) == 1 and "00_first.ipynb is missing" in capsys.readouterr().out
    assert not path.exists(), "--check writes nothing"
    main(["student"])
    before = path.read_bytes()
    main(["student"])
    assert path.read_bytes() == before
    assert main(["student", "--check"]) == 0
    solved = exercise.notebooks / "00_first.ipynb"
    solved.write_text(solved.read_text().replace("5 minutes", "6 minutes"))
    path.with_name("99_gone.ipynb").write_bytes(before)
    capsys.readouterr()
    assert main(["student", "--check"]) == 1
    out = capsys.readouterr().out
    assert "00_first.ipynb differs" in out and "99_gone.ipynb has no solved notebook" in out
    assert main(["student"]) == 0, "what it wrote itself it replaces and deletes"
    assert b"6 minutes" in path.read_bytes() and [p.name for p in path.parent.iterdir()] == ["00_first.ipynb"]


def changed(path, what):
    """A student copy after something that a learner, a merge or an editor does to it."""
    notebook = nbformat.read(path, 4)
    cell = next(c for c in notebook.cells if c.source == STUB)
    match what:
        case "answer":
            cell.source = cell.source.replace("return x", "return 2 * x")
        case "outputs":
            cell.outputs = [new_output("stream", text="an hour of training")]
        case "cell":
            notebook.cells.append(new_markdown_cell("my notes"))
        case "no mark":
            notebook.metadata.pop("klm")
        case "odd mark":
            notebook.metadata["klm"] = "x"
    nbformat.write(notebook, path)
    if what == "conflict":
        path.write_text("<<<<<<< HEAD\n" + path.read_text())


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("what", ["answer", "outputs", "cell", "no mark", "odd mark", "conflict"])
def test_a_copy_that_somebody_edited_is_neither_replaced_nor_deleted(exercise, monkeypatch, capsys, what, stale):
    monkeypatch.chdir(exercise.root)
    main(["student"])
    path = exercise.notebooks / "student" / "00_first.ipynb"
    if stale:
        path = path.rename(path.with_name("99_gone.ipynb"))
    changed(path, what)
    before = path.read_bytes()
    assert main(["student", "--check"]) == 1
    capsys.readouterr()
    assert main(["student"]) == 1 and path.read_bytes() == before
    assert path.name in (err := capsys.readouterr().err) and "--force" in err
    assert main(["student", "--force"]) == 0 == main(["student", "--check"])
    assert path.exists() is not stale


def test_opened_and_saved_in_an_editor_it_is_still_the_same(exercise, monkeypatch):
    monkeypatch.chdir(exercise.root)
    main(["student"])
    path = exercise.notebooks / "student" / "00_first.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.metadata["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
    notebook.metadata["language_info"] = {"name": "python", "version": "3.13.1", "nbconvert_exporter": "python"}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"other-{number}"
        cell.metadata["collapsed"] = True
    nbformat.write(notebook, path)
    saved = path.read_bytes()
    assert main(["student", "--check"]) == 0 == main(["student"]) and path.read_bytes() == saved
    assert METADATA["kernelspec"]["display_name"] == "Python 3", "the pattern itself was not changed"


def test_where_nothing_can_be_written_it_says_so(exercise, monkeypatch, capsys):
    monkeypatch.chdir(exercise.root)
    (exercise.notebooks / "student").write_text("in the way")
    assert main(["student"]) == 1
    assert "cannot write" in (err := capsys.readouterr().err) and "00_first.ipynb" in err


def test_both_copies_run_to_the_end(exercise, monkeypatch):
    monkeypatch.chdir(exercise.root)
    main(["student"])
    folders = {"RIGHT": exercise.notebooks, "WRONG": exercise.notebooks / "student"}
    jobs = [plan(folders[word], exercise.root / "build" / word, scales=exercise.scales)[0][0] for word in folders]
    assert [result.error for result in execute(jobs)] == ["", ""]
    for word, job in zip(folders, jobs, strict=True):
        outputs = [o.get("text", "") for c in read(job.output).cells for o in c.get("outputs", [])]
        assert any(word in text for text in outputs)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n    return 1", "no # STUB"),
        ("def f():\n    # STUB return 0\n    return 1", "without its counterpart"),
        ("def f():\n    return 1\n    # END SOLUTION", "without its counterpart"),
        ("# STUB x = 0\nx = 1\n# STUB y = 0\ny = 1\n# END SOLUTION", "without its counterpart"),
    ],
)
def test_an_exercise_that_is_not_marked_is_refused(source, found):
    with pytest.raises(ConfigError, match=found):
        split_solution(source)


def test_a_cell_may_have_two_places_to_fill():
    source = "# STUB a = 0\na = 1\n# END SOLUTION\nb = 2\n# STUB c = 0\nc = 3\n# END SOLUTION"
    student, solution = split_solution(source)
    assert student == "a = 0  # replace this line\nb = 2\nc = 0  # replace this line"
    assert solution == "a = 1\nb = 2\nc = 3"


def test_a_folded_solution_comes_last_when_nothing_follows():
    notebook = nbformat.v4.new_notebook(cells=[tagged(new_code_cell, SOLVED, "exercise")])
    assert [c.metadata.tags[0] for c in build(notebook).cells] == ["exercise", "solution"]
