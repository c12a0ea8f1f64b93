"""The code that the README shows runs, and every number of its table comes from the stored full-scale run."""

import re
from pathlib import Path

import pytest

from klm_utils import course

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf8")
ROWS = {
    "Will they like it? Known films (`random`), AUC": ("random, label", "bias + ALS"),
    "Will they like it? New films (`cold_item`), AUC": ("cold_item, label", "logistic regression"),
    "What will they choose? New films, nDCG@10": ("cold_item, interaction", "popularity"),
    "What will they choose? Known films, nDCG@10": ("random, interaction", "EASE"),
    "Will they like it? Tomorrow (`temporal`), AUC": ("temporal, label", "user + item bias"),
}
KINDS = ("no text", "frozen, shuffled", "frozen", "full")


def lines() -> list[str]:
    """The table as the README has it."""
    tables = course.results("05")["metrics"]["tables"]
    text = ["| | baseline | without text | text shuffled | frozen text | end to end |", "|---|---|---|---|---|---|"]
    for title, (name, baseline) in ROWS.items():
        values = [tables[name].get(model) for model in (baseline, *KINDS)]
        shown = ["-" if v is None else f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]" for v in values]
        text.append(f"| {title} | {baseline}: {' | '.join(shown)} |")
    return text


def test_the_table_is_that_of_the_stored_run():
    assert "\n".join(lines()) in README


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```", README, re.M | re.S))
def test_the_code_runs(code, tmp_path, monkeypatch):
    """As it stands, but for one epoch in place of all."""
    monkeypatch.chdir(tmp_path)
    exec(compile(re.sub(r"TrainConfig\((?![^)]*epochs)", "TrainConfig(epochs=1, ", code), "README.md", "exec"), {})
