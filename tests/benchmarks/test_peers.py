"""Our splits reach the other libraries as they are, what comes back is measured as ours, and the README has it."""

import json

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm


@pytest.fixture(scope="module")
def peers(script):
    return script("benchmarks/peers/run.py")


@pytest.fixture(scope="module")
def stored(checkout):
    return json.loads((checkout / "docs/results/peers.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("name", ["random", "cold_item", "temporal", "last"])
def test_the_files_hold_the_rows_of_the_split(peers, name, tmp_path):
    peers.export(name, tmp_path)
    split = peers.split_of(name)
    for part in ("train", "valid", "test"):
        found = pd.read_csv(tmp_path / name / f"{name}.{part}.inter", sep="\t")
        want = getattr(split, part)[["user_id", "item_id", "label"]]
        assert found.to_numpy().tolist() == want.to_numpy().tolist()
    items = pd.read_csv(tmp_path / name / f"{name}.item", sep="\t")
    assert len(items) == 1682 and items["class:token_seq"].notna().mean() > 0.99
    assert len(pd.read_csv(tmp_path / name / f"{name}.user", sep="\t")) == 943


def test_a_sequence_ends_with_the_row_of_test(peers, tmp_path):
    peers.export("last", tmp_path)
    rows = pd.read_csv(tmp_path / "last-sequence" / "last-sequence.inter", sep="\t")
    ends = rows.sort_values("timestamp:float").groupby("user_id:token")["item_id:token"].last()
    test = peers.split_of("last").test.set_index("user_id")["item_id"]
    assert ends[test.index].equals(test.rename("item_id:token").rename_axis("user_id:token"))


def test_a_table_of_scores_is_measured_as_the_model_that_made_it(peers):
    split = peers.split_of("random")
    model = klm.baselines.UserItemBias().fit(split)
    users, items = split.dataset.users.index.to_numpy(), split.dataset.items.index.to_numpy()
    table = np.stack([model.predict(np.full(len(items), user), items) for user in users])
    scores = peers.Scores("table", split, table)
    direct, again = (klm.evaluate(one, split, n_boot=20).metrics for one in (model, scores))
    assert again == pytest.approx(direct, abs=1e-9)


def test_the_stored_run_has_every_model_and_the_readme_its_tables(peers, stored, checkout):
    for name, question in peers.QUESTION.items():
        assert set(stored["rows"][name]) == {*peers.THEIRS[question], *peers.OWN[question]}
        assert {m: row["tuned on valid"] for m, row in stored["rows"][name].items()}.items() <= peers.TUNED.items()
    text = (checkout / "README.md").read_text(encoding="utf8")
    assert "\n".join(peers.markdown(stored)) in text


def test_ours_is_above_every_other_library_where_films_are_rated(stored):
    for name in ("random", "cold_item"):
        for model, row in stored["rows"][name].items():
            if row["theirs"]:
                assert row["ours minus this"][1] > 0, (name, model)
