"""The code that the README shows runs, and every number of its tables comes from a stored run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from klm_utils import course
from klm_utils.course.minutes import minutes
from klm_utils.course.notebook import read
from klm_utils.evaluation import kept

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf8")
NEW = {  # rows of docs/results/folds.json
    "popularity (chance)": "popularity",
    "frozen, text shuffled": "frozen, shuffled",
    "without text": "no text",
    "kernel ridge on genre and year": "kernel ridge",
    "frozen text": "frozen",
    "end to end, adapter": "adapter",
    "kernel ridge on genre, year and text": "kernel ridge + text",
    "end to end, full": "full",
}
ROWS = {  # of docs/results/05.json
    "Will they like it? Known films (`random`), AUC": ("random, label", "bias + ALS"),
    "Will they like it? New films (`cold_item`), AUC": ("cold_item, label", "logistic regression"),
    "What will they choose? Known films, nDCG@10": ("random, interaction", "EASE"),
    "Will they like it? Tomorrow (`temporal`), AUC": ("temporal, label", "user + item bias"),
}
FACTS = {  # rows of docs/results/facts.json
    "genre and year": "ridge",
    "genre, year, facts": "ridge, facts",
    "genre, year, title text": "ridge, text",
    "... and facts": "ridge, text and facts",
    "... and facts of other films": "ridge, text and facts of others",
    "... and facts of the mislinked graph": "ridge, text and facts mislinked",
    "frozen model: title text": "KLM, text",
    "frozen model: title text, facts read and as vectors": "KLM, text, facts both ways",
}
AVERAGED = {  # questions of docs/results/averaging.json
    "random": "Known films (`random`, ten seeds)",
    "cold_item": "New films (`cold_item`, ten folds)",
    "temporal": "Tomorrow (`temporal`)",
}
FRESH = {  # rows of docs/results/which_facts.json
    "genre and year": "genre, year",
    "genre, year, facts": "facts",
    "genre, year, title text": "text",
    "... and facts": "text and facts",
    "... and facts, a tenth of the links wrong": "links spoilt: 10%",
    "... and facts, half of the links wrong": "links spoilt: 50%",
    "... and facts, all links wrong": "links spoilt: 100%",
}
KINDS = ("no text", "frozen, shuffled", "frozen")


def new_films(file="folds.json", rows=NEW, base="no text", what="without text") -> list[str]:
    """The table of the ten folds as the README has it."""
    ten = kept.load(course.stored(file))
    gains = ten.to_rows(base)
    text = [f"| | nDCG@10 | minus {what} | other users | other films too |", "|---|---|---|---|---|"]
    for name, variant in rows.items():
        cells = ["-"] * 3
        if variant in gains:
            d, *ends = gains[variant]
            cells = [f"{d:+.3f}", *(f"[{low:+.3f}, {high:+.3f}]" for low, high in (ends[:2], ends[2:]))]
        text.append(f"| {name} | {ten.pooled[variant].metrics['ndcg@10']:.3f} | {' | '.join(cells)} |")
    return text


def facts() -> list[str]:
    """The table of facts, on the same folds."""
    return new_films("facts.json", FACTS, "ridge, text", "title text")


def fresh() -> list[str]:
    """The table of facts on folds that nobody had looked at."""
    return new_films("which_facts.json", FRESH, "text", "title text")


def questions() -> list[str]:
    """The table of the other questions."""
    tables = course.results("05")["metrics"]["tables"]
    text = ["| | baseline | without text | text shuffled | frozen text |", "|---|---|---|---|---|"]
    for title, (name, baseline) in ROWS.items():
        values = [tables[name].get(model) for model in (baseline, *KINDS)]
        shown = ["-" if v is None else f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]" for v in values]
        text.append(f"| {title} | {baseline}: {' | '.join(shown)} |")
    return text


def averages() -> list[str]:
    """The table of means of models."""
    found = json.loads(course.stored("averaging.json").read_text(encoding="utf8"))
    text = [
        "| | one model | mean of nine | minus one model | other users | other films too |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in AVERAGED.items():
        one, nine = (np.mean(found[name]["auc"][model]) for model in ("bce", "three of each loss"))
        d, *ends = found[name]["minus bce"]["three of each loss"]
        cells = [f"{d:+.4f}", *(f"[{low:+.4f}, {high:+.4f}]" for low, high in (ends[:2], ends[2:]))]
        text.append(f"| {title} | {one:.4f} | {nine:.4f} | {' | '.join(cells)} |")
    return text


@pytest.mark.parametrize("table", [new_films, facts, fresh, questions, averages])
def test_a_table_is_that_of_the_stored_run(table):
    assert "\n".join(table()) in README


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```", README, re.M | re.S))
def test_the_code_runs(code, tmp_path, monkeypatch):
    """As it stands, but for one epoch in place of all."""
    monkeypatch.chdir(tmp_path)
    exec(compile(re.sub(r"TrainConfig\((?![^)]*epochs)", "TrainConfig(epochs=1, ", code), "README.md", "exec"), {})


def test_every_notebook_has_a_row_with_the_minutes_of_its_core(checkout):
    rows = dict(re.findall(r"^\| \[[^\]]+\]\(notebooks/([\w.]+)\) \|.*\| (\d+) \|$", README, re.M))
    assert rows == {path.name: str(minutes(read(path)).core) for path in (checkout / "notebooks").glob("*.ipynb")}
