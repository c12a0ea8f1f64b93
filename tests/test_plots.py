"""The pictures hold what they are given, and every character of the notebooks can be drawn."""

import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fontTools.ttLib import TTFont
from matplotlib import cbook

import klm_utils as klm
from klm_utils import plots


@pytest.fixture(autouse=True)
def closed():
    with plt.rc_context():
        yield
    plt.close("all")


def test_the_font_covers_every_character_of_the_notebooks_and_of_the_shop(checkout):
    drawn = set(TTFont(checkout / "data/fonts/NotoSansCJKsc-course.otf").getBestCmap())
    files = [*(checkout / "notebooks").glob("*.ipynb"), *(checkout / "data/shop").glob("*.csv")]
    assert len(files) >= 8
    for path in files:
        cjk = set(re.findall("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]", path.read_text("utf8")))
        assert {c for c in cjk if ord(c) not in drawn} == set(), path.name


def test_chinese_labels_are_drawn_without_a_missing_glyph(recwarn):
    plots.chinese()
    plots.forest({"手机": (0.1, 0.0, 0.2)}, "技").figure.canvas.draw()
    assert [str(w.message) for w in recwarn if "Glyph" in str(w.message)] == []


def test_without_the_font_a_glyph_would_be_missing(recwarn):
    """The test above can fail."""
    plt.rcParams["font.family"] = ["DejaVu Sans"]
    plots.forest({"手机": (0.1, 0.0, 0.2)}, "技").figure.canvas.draw()
    assert [w for w in recwarn if "Glyph" in str(w.message)]


@pytest.mark.parametrize("name", ["random", "temporal", "cold_item", "cold_user"])
def test_the_picture_of_a_split_has_the_colour_of_each_row(name):
    split = klm.split(klm.load_dataset("movielens-100k"), name)
    cells = plots.split_matrix(split, users=50, items=40).images[0].get_array()
    assert cells.shape == (50, 40)
    log = split.dataset.interactions
    users, items = log["user_id"].unique(), log["item_id"].value_counts().index[:40]
    user, item = users[0], items[3]  # the first row is the first who came
    there = [((p["user_id"] == user) & (p["item_id"] == item)).any() for p in (split.train, split.valid, split.test)]
    part = 1 + there.index(True) if any(there) else 0
    assert cells[0, 3] == part
    assert set(np.unique(cells)) == {0, 1, 2, 3}


def test_boxes_stand_above_what_goes_into_them_and_beside_each_other():
    ax = plots.flow({"score": "person thing", "person": "user past", "thing": "id text", "more": "id"}, "t")
    place = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    assert set(place) == {"score", "person", "thing", "more", "user", "past", "id", "text"} and ax.get_title() == "t"
    assert [place[name][1] for name in ("user", "person", "score")] == [0, 1, 2]
    assert place["person"][0] == (place["user"][0] + place["past"][0]) / 2
    row = sorted(place[name][0] for name in ("person", "thing", "more"))
    assert (np.diff(row) >= 1).all()
    arrows = [text for text in ax.texts if not text.get_text()]
    assert len(arrows) == 7 and all(arrow.xy[1] > arrow.xyann[1] for arrow in arrows), "upwards"


@pytest.mark.parametrize("steps", [{"a": "b", "b": "a"}, {"a": "a"}, {"a": ""}])
def test_boxes_that_cannot_be_drawn(steps):
    with pytest.raises(klm.ConfigError, match="go into each other"):
        plots.flow(steps)


DOLLARS = ["$5 or $6", "$_$", "{$x$}", "costs 5$", r"\$ and $$"]


def drawn(texts):
    return [text.get_text().replace(r"\$", "$") for text in texts]


@pytest.mark.parametrize("text", DOLLARS)
def test_dollars_are_drawn_as_they_are(text):
    """Not as formulas, which some cannot be: matplotlib's own rule says which label is one."""
    history = SimpleNamespace(epochs=pd.DataFrame({"valid": [0.5, 0.6]}), best_epoch=1, metric="auc")
    axes = [
        plots.training_curves({text: history}),
        plots.forest({text: (0.1, 0.0, 0.2)}, text),
        plots.flow({"score": text.replace(" ", "_")}, text),
    ]
    for ax in axes:
        ax.figure.canvas.draw()
        legend = ax.get_legend().get_texts() if ax.get_legend() else []
        labels = [*ax.texts, *legend, *ax.get_yticklabels(), ax.xaxis.label, ax.title]
        found = [label for label in labels if "$" in label.get_text()]
        assert found and not any(cbook.is_math_text(label.get_text()) for label in found)
    assert text.replace("_", " ") in drawn(axes[2].texts)


def test_a_dollar_would_be_a_formula():
    """The test above can fail."""
    ax = plots.forest({"a": (0.1, 0.0, 0.2)}, "")
    ax.set_xlabel("$_$")
    with pytest.raises(ValueError, match="Parse"):
        ax.figure.canvas.draw()


def test_what_has_no_interval_is_not_drawn_as_different():
    ax = plots.forest(
        {"clear": (0.2, 0.1, 0.3), "none": (0.2, np.nan, np.nan), "unclear": (0.2, -0.1, 0.3)}, "x", zero=0
    )
    clear, none, unclear = (line.get_color() for line in ax.lines[1:6:2])
    assert clear != none == unclear


def test_a_dot_for_each_fold_that_was_run_and_two_intervals_below():
    differences = pd.DataFrame({"a - b": [0.1, 0.2, 0.3], "c - b": [0.1, np.nan, -0.1]})
    gains = {"a - b": [0.2, 0.15, 0.25, 0.1, 0.3], "c - b": [0.0, -0.05, 0.05, -0.2, 0.2]}
    ax = plots.dots(differences, "nDCG", gains)
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [3, 2]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a - b", "c - b"]
    bars = [line for line in ax.lines if line.get_ydata()[0] in (0.3, 1.3)]
    assert [list(line.get_xdata()) for line in bars] == [[0.15, 0.25], [0.1, 0.3], [-0.05, 0.05], [-0.2, 0.2]]
    assert [line.get_color() for line in bars] == ["black"] * 2 + ["#999999"] * 2
    assert bars[0].get_linewidth() > bars[1].get_linewidth()
    wide = plots.dots(pd.DataFrame({"a - b": [-0.024, 0.15]}), "nDCG")
    assert len(wide.get_xticks()) <= 8, "their labels do not touch"
