"""The drawings of the tour show the numbers that they were given, inside of their axes."""

import itertools

import numpy as np
import pytest
from drawn import texts

from klm_utils.course.lessons import tour_pictures


def inside(ax):
    """Whether every text lies within the figure."""
    ax.figure.canvas.draw()
    page = ax.figure.bbox
    boxes = [text.get_window_extent() for text in ax.texts]
    return all(b.x0 >= page.x0 - 1 and b.x1 <= page.x1 + 1 and b.y0 >= -1 and b.y1 <= page.y1 + 1 for b in boxes)


def test_gaps_are_white_and_the_new_film_has_question_marks():
    ratings = np.array([[5, np.nan, np.nan], [np.nan, 3, np.nan]])
    ax = tour_pictures.gaps(ratings, ["user 1", "user 2"], ["Alien", "Fargo", "Cash $$$"], new=2)
    assert texts(ax).count("?") == 2 and {"5", "3", "user 2", "Cash $$$"} <= set(texts(ax))
    assert len({box.get_facecolor() for box in ax.patches}) == 3, "a rating, a gap, the new film"
    (place,) = (text.get_position() for text in ax.texts if text.get_text() == "3")
    assert place == (1.5, -1.5), "second user, second film"
    assert inside(ax)


def test_lists_have_places_titles_and_marked_notes():
    columns = {"mean": [("Santa with Muscles", "2 ratings"), ("Alien", "9 ratings")], "number": [("Fargo", "508")]}
    ax = tour_pictures.lists(columns, marked=["2 ratings"])
    assert {"mean", "number", "Santa with Muscles", "508", "1", "2"} <= set(texts(ax))
    colour = {text.get_text(): text.get_color() for text in ax.texts}
    assert colour["2 ratings"] == tour_pictures.ORANGE != colour["9 ratings"]
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["Santa with Muscles"][1] > at["Alien"][1] and at["Fargo"][0] > at["Alien"][0]
    assert inside(ax)


@pytest.mark.parametrize("columns", [2, 3])
def test_a_long_title_does_not_reach_its_note(columns):
    title, note = (
        "The Wonderful, Horrible Life of Leni Riefenstahl and More",
        "mean 4.9, 10 ratings"[: 20 if columns == 2 else 3],
    )
    ax = tour_pictures.lists({f"list {n}": [(title, note)] for n in range(columns)})
    ax.figure.canvas.draw()
    short = [text.get_window_extent() for text in ax.texts if text.get_text().startswith("The Won")]
    notes = [text.get_window_extent() for text in ax.texts if text.get_text() == note]
    assert len(short) == columns and all(a.x1 < b.x0 for a, b in zip(short, notes, strict=True))


def test_a_title_is_cut_behind_a_word():
    assert tour_pictures.cut("Alien", 10) == "Alien"
    assert tour_pictures.cut("Star Trek: First Contact", 13) == "Star Trek..."


def test_the_pipeline_numbers_the_steps_and_not_the_end():
    steps = {"data": "Alien", "fusion": "s = 1.4", "list": "user 7"}
    ax = tour_pictures.pipeline(steps, "one film", end="list")
    assert {"data", "s = 1.4", "user 7", "one film", "1", "2"} <= set(texts(ax)) and "3" not in texts(ax)
    x = [text.get_position()[0] for name in steps for text in ax.texts if text.get_text() == name]
    assert x == sorted(x) and len(set(x)) == 3
    assert len(ax.patches) == 3 + 2, "three boxes, two arrows"
    assert inside(ax)


def test_the_texts_of_six_steps_do_not_touch():
    steps = {f"step\n{n}": "how wrong is s?\nwhich way is\nit better?" for n in range(6)}
    ax = tour_pictures.pipeline(steps, "film")
    ax.figure.canvas.draw()
    boxes = sorted((t.get_window_extent() for t in ax.texts if "wrong" in t.get_text()), key=lambda box: box.x0)
    assert all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))


def test_the_bars_of_a_waterfall_follow_each_other_and_end_at_the_score():
    ax = tour_pictures.waterfall({"c": -2.5, "user": 1.0, "text": 3.0}, "user 7 and Alien")
    bars = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert bars == [(0, -2.5), (-2.5, 1.0), (-1.5, 3.0), (0, 1.5)]
    assert texts(ax) == ["-2.50", "+1.00", "+3.00", "s = 1.50, p = 0.82"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "user", "text", "score"]
    assert inside(ax)


def test_near_films_have_bars_and_numbers():
    ax = tour_pictures.near({"Alien": 0.75, "Cash $$$": 0.25}, "cosine with Aliens")
    assert [bar.get_width() for bar in ax.patches] == [0.75, 0.25] and texts(ax) == ["0.75", "0.25"]
    assert ax.get_xlabel() == "cosine with Aliens" and ax.get_ylim()[0] > ax.get_ylim()[1]
    assert texts(tour_pictures.near({"Alien": 0.3421}, "nDCG", digits=3)) == ["0.342"] and inside(ax)


def test_notes_below_the_titles_do_not_reach_the_next_column():
    note = "1995 Animation, Children's · 452"
    ax = tour_pictures.lists(
        {f"list {n}": [("Toy Story", note), ("Heat", "1995 · new")] for n in range(3)}, ["new"], True
    )
    at = [text.get_position() for text in ax.texts if text.get_text() in ("Toy Story", note, "Heat", "1995 · new")][:4]
    assert len({x for x, _ in at}) == 1 and [y for _, y in at] == sorted((y for _, y in at), reverse=True)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text() == note]
    grey = [box.get_window_extent() for box in ax.patches]
    assert len(boxes) == 3 and all(box.x1 <= back.x1 for box, back in zip(boxes, grey, strict=True)), "not cut"
    colours = {text.get_text(): text.get_color() for text in ax.texts}
    assert colours["1995 · new"] == tour_pictures.ORANGE != colours[note] and inside(ax)


def test_the_loss_and_its_slope_at_a_score():
    ax = tour_pictures.loss(-2.73)
    p = 1 / (1 + np.exp(2.73))
    assert texts(ax) == [f"loss {-np.log(p):.2f}, slope {p - 1:+.2f}", f"loss {-np.log(1 - p):.2f}, slope {p:+.2f}"]
    dots = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [pytest.approx([-2.73, -np.log(p)]), pytest.approx([-2.73, -np.log(1 - p)])]
    tangent = next(line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 2)
    assert np.diff(tangent[:, 1])[0] / np.diff(tangent[:, 0])[0] == pytest.approx(p - 1)
    assert "p = 0.061" in ax.get_xlabel()


def test_a_column_and_a_row_become_a_table():
    ax = tour_pictures.column_and_row(-2.5, {"user 1": 1.0, "user 2": -0.5}, {"Toy Story": 2.0, "Heat": 0.25})
    found = texts(ax)
    assert {"c = -2.50", "1.00", "-0.50", "2.00", "0.25"} <= set(found)
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["0.50"][1] == at["-1.25"][1] > at["-1.00"][1] == at["-2.75"][1], "a row of the table is a user"
    assert at["0.50"][0] == at["-1.00"][0] < at["-1.25"][0] and found.count("Toy\nStory") == 2 and inside(ax)
    shades = [box.get_facecolor()[3] for box in ax.patches[-4:]]
    assert shades[0] == max(shades) and shades[3] == min(shades), "the highest score is dark"


def test_each_user_is_a_dot_and_hits_are_counted():
    rows = {"drawn": ([True, False, True], float("nan")), "most": ([True] * 3, 1.5), "text": ([False] * 3, 2.25)}
    ax = tour_pictures.who(rows)
    assert {"2", "3", "0", "1.5", "2.2", "drawn", "our film", "mean"} <= set(texts(ax)) and "nan" not in texts(ax)
    blue = [line.get_color() == tour_pictures.BLUE for line in ax.lines]
    assert blue == [True, True, False, *[True] * 3, *[False] * 3], "those who watched it first"
    assert inside(ax) and not any("guess" in text for text in texts(ax))


def test_guesses_are_lines_behind_so_many_dots():
    rows = {name: ([True] * 20, 2.0) for name in "abcdef"}
    ax = tour_pictures.who(rows, guesses=[12, 14, 17])
    lines = [line for line in ax.lines if line.get_color() == tour_pictures.ORANGE]
    places = [(line.get_xdata()[0], round(float(np.mean(line.get_ydata())))) for line in lines]
    assert places == [(11.5, -1), (13.5, -4), (16.5, -5)] and any("your guess" in text for text in texts(ax))


def test_the_gain_of_a_list_is_the_weight_of_its_hits():
    ax = tour_pictures.gain(["Alien", "Heat", "Ran"], [False, True, True], total=2, heading="user 7")
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([1, 0.63, 0.5], abs=0.01)
    assert len({bar.get_facecolor() for bar in ax.patches}) == 2
    assert "blue: 1.13\nbest list: 1.63\nnDCG = 0.69" in texts(ax) and inside(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Alien  1", "Heat  2", "Ran  3"]
