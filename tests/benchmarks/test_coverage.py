"""The study of coverage runs, and what it found is what the intervals promise."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def coverage(script):
    return script("benchmarks/coverage.py")


@pytest.fixture(scope="module")
def stored(checkout):
    return json.loads((checkout / "docs/results/06_coverage.json").read_text(encoding="utf8"))


def test_a_world_is_drawn_anew_and_measured(coverage):
    found, other = coverage.measured(3, 3), coverage.measured(3, 4)
    assert set(found) == {"lists", "auc", "logloss"}
    for what, kinds in found.items():
        assert kinds["value"] != other[what]["value"], "other users"
        for kind, (low, high) in ((kind, ends) for kind, ends in kinds.items() if kind != "value"):
            assert low < kinds["value"] < high, (what, kind)
    again = coverage.measured(3, 3)
    assert again["lists"]["value"] == found["lists"]["value"], "the same world twice"


def test_coverage_counts_what_is_inside(coverage):
    found = [{"value": 0.0, "users": (low, low + 1.0)} for low in (-0.5, 0.2, -0.9, -2.0)]
    assert coverage.held(found, np.zeros(4))["users"] == {"coverage": 0.5, "width": 1.0}


def test_the_intervals_hold_what_they_promise(stored):
    """Nominal 95 %, 400 worlds: a share of .95 has a standard error of .011."""
    assert stored["repetitions"] >= 400
    of = {
        what: {kind: row["coverage"] for kind, row in found["other users and items"].items()}
        for what, found in stored["metrics"].items()
    }
    for what in ("auc", "logloss"):
        assert 0.92 <= of[what]["users and items"] <= 0.98, what
        assert of[what]["users"] < 0.9 and of[what]["rows"] < 0.9, "other items are not its question"
        assert of[what]["users and items, pigeonhole"] > 0.98, "it is too wide here, so it is shrunk"
    assert 0.92 <= of["lists"]["folds, corrected"] <= 0.98
    assert of["lists"]["users"] < 0.9 and of["lists"]["folds, not corrected"] < 0.9
    for what, found in stored["metrics"].items():
        assert 0.92 <= found["other users"]["users"]["coverage"] <= 0.98, what
