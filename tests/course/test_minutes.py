"""How long a notebook takes to read."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from klm_utils.__main__ import main
from klm_utils.course.minutes import Minutes, minutes, said

TABLE = "| a | b |\n|---|---|\n| c | d |"


def notebook(*cells):
    return new_notebook(cells=list(cells))


def text(words, tag="", **other):
    return new_markdown_cell("word " * words + other.get("more", ""), metadata={"tags": [tag]} if tag else {})


def test_words_are_read_at_120_a_minute_and_a_part_counts_as_a_whole():
    assert minutes(notebook(text(120))) == Minutes(1, 0, 0)
    assert minutes(notebook(text(121))) == Minutes(2, 0, 0)
    assert minutes(notebook(new_code_cell("name = " * 120), text(1))) == Minutes(2, 0, 0)


def test_a_formula_and_a_table_cost_a_minute_each():
    assert minutes(notebook(new_markdown_cell("$$x = 1$$"))).core == 1, "its letters are not counted as words too"
    assert minutes(notebook(new_markdown_cell(TABLE))).core == 2, "a minute, and its four words"
    shown = new_code_cell("", outputs=[new_output("display_data", data={"text/html": "<table>"})])
    assert minutes(notebook(shown)).core == 1


def test_sections_say_whether_they_are_core():
    cells = [
        new_markdown_cell(f"## {n}. Title · {part}\n" + "word " * 119)
        for n, part in ((1, "core"), (2, "more"), (3, "core"))
    ]
    found = minutes(notebook(*cells))
    assert (found.core, found.more) == (3, 2)
    below = minutes(notebook(cells[1], new_code_cell("name = " * 240)))
    assert below == Minutes(0, 4, 0), "a cell belongs to the heading above it"


def test_exercises_and_what_the_machine_reads_are_apart():
    text_of = "> **Exercise 1.1** · write · 8 minutes · more"
    cards = [new_markdown_cell(text_of, metadata={"tags": ["exercise"]}) for _ in range(2)]
    code = new_code_cell("name = " * 500, metadata={"tags": ["parameters"]})
    assert minutes(notebook(*cards, code, text(900, "hint"), text(900, "footer"))) == Minutes(0, 0, 16)


def test_the_header_is_read():
    line = "| **Minutes** | 43 to read, 6 for what is marked *more*, 41 for the exercises, 1 to run |"
    assert said(f"# Title\n{line}") == Minutes(43, 6, 41)
    assert said("# Title, 5 to read") == Minutes(-1, -1, -1)


def test_the_command_prints_a_line_for_each_notebook(checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout)
    assert main(["minutes"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1 + len(list((checkout / "notebooks").glob("*.ipynb")))
