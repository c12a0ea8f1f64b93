"""Every number of the README's table comes from the stored full-scale run."""

from pathlib import Path

from klm_utils import course

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
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf8")
    assert "\n".join(lines()) in readme
