"""Runs in a file say what the runs said; an experiment that was stopped goes on with what is in it."""

import json

import numpy as np
import pytest

import klm_utils as klm
from klm_utils.errors import CheckpointError
from klm_utils.evaluation import experiment, kept
from klm_utils.evaluation.next_item import evaluate_next, sequences
from klm_utils.models import baselines
from klm_utils.models.next_item import Markov

AS = {"little": 1.0, "much": 100.0}  # of a Markov table


@pytest.fixture(scope="module")
def folds(small):
    return {fold: klm.split(small, "cold_item", fold=fold, folds=4) for fold in range(3)}


def counted(calls, name, stop=None):
    """A variant that notes its calls, and is interrupted at the `stop`-th of all."""

    def build(split, seed):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append((name, seed))
        return baselines.Popularity().fit(split) if name == "popularity" else baselines.KernelRidge().fit(split)

    return build


def variants(calls, stop=None):
    return {name: counted(calls, name, stop) for name in ("popularity", "ridge")}


def test_what_comes_back_has_the_same_values_gains_and_tables(folds, tmp_path):
    runs = experiment.run(variants([]), folds, n_boot=200)
    kept.save(tmp_path / "runs.json", runs, "mine")
    back = kept.load(tmp_path / "runs.json")
    assert back.variants == runs.variants and back.protocol == runs.protocol
    np.testing.assert_allclose(back.values(), runs.values(), atol=1e-5)
    one, other = (r.gain("ridge", "popularity") for r in (runs, back))
    assert (other.how, other.n_splits, other.protocol) == (one.how, one.n_splits, one.protocol)
    np.testing.assert_allclose((*other.others, other.low), (*one.others, one.low), atol=2e-5)
    assert "ndcg@10" in back.table("popularity") and back.only("ridge").variants == ["ridge"]


def test_an_interrupted_experiment_goes_on_where_it_was(folds, tmp_path):
    whole, calls, path = experiment.run(variants([]), folds, n_boot=20), [], tmp_path / "runs.json"
    with pytest.raises(KeyboardInterrupt):
        experiment.run(variants(calls, stop=3), folds, n_boot=20, keep=path, stamp="a")
    assert len(calls) == 3 == len(kept.load(path).runs)
    again = experiment.run(variants(calls), folds, n_boot=20, keep=path, stamp="a")
    assert calls == [(name, fold) for fold in folds for name in ("popularity", "ridge")], "each is built once"
    np.testing.assert_allclose(again.values(), whole.values(), atol=1e-5)
    assert experiment.run(variants(calls), folds, n_boot=20, keep=path, stamp="a").gain("ridge", "popularity")
    assert len(calls) == 6, "nothing is left to do"


def test_another_stamp_starts_anew(folds, tmp_path):
    calls, path = [], tmp_path / "runs.json"
    for stamp in ("a", "a", "b"):
        experiment.run(variants(calls), folds[0], n_boot=20, keep=path, stamp=stamp)
    assert len(calls) == 4 and json.loads(path.read_text())["stamp"] == "b"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"stamp": "a", "users": {}, "runs": [{}]}', '{"stamp": "a", "runs": 3}']
)
def test_what_is_no_file_of_runs_is_refused(folds, tmp_path, text):
    path = tmp_path / "runs.json"
    path.write_text(text)
    for call in (lambda: kept.load(path), lambda: experiment.run(variants([]), folds[0], keep=path, stamp="a")):
        with pytest.raises(CheckpointError, match="no runs in this file"):
            call()
    with pytest.raises(CheckpointError, match="no runs"):
        kept.load(tmp_path / "nothing.json")


def test_means_over_rows_keep_their_items(small, tmp_path):
    split = klm.split(small, "temporal")
    build = {
        name: lambda split, seed, a=a: Markov(small.items.index, a).fit(sequences(split)) for name, a in AS.items()
    }
    runs = experiment.run(build, split, n_boot=50, measure=evaluate_next)
    kept.save(tmp_path / "runs.json", runs)
    one, other = (r.gain("much", "little") for r in (runs, kept.load(tmp_path / "runs.json")))
    assert one.how == other.how == "two-way" and np.isfinite(one.others).all()
    np.testing.assert_allclose((*other.others, other.low), (*one.others, one.low), atol=2e-5)
