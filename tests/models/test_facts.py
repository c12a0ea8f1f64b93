"""Facts as a part of the score: in the model, in its file, of an item that nobody has rated."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import FAST, INTERACTION, all_pairs, planted

import klm_utils as klm
from klm_utils import files
from klm_utils.fusion import FUSIONS
from klm_utils.knowledge.controls import facts_shuffled
from klm_utils.models.saving import FILE

BY = ("directors", "cast")


@pytest.fixture(scope="module")
def films():
    """Items whose trait a director tells, and nothing else: their tags are taken away."""
    ds = planted()
    ds = replace(ds, items=ds.items.assign(year=1990))
    directors = [["Anna O'Hara"] if tags == ["plus"] else ["Béla Ürgel"] for tags in ds.items["tags"]]
    items = ds.items.assign(tags=[[] for _ in directors], directors=directors, cast=[["x", "y"]] * len(directors))
    return replace(ds, items=items, facts=BY)


@pytest.fixture(scope="module")
def cut(films):
    return klm.split(films, "cold_item")


def trained(split, encoder=None, fusion="dot", settings=FAST, **options):
    model = klm.KLMRecommender.from_split(split, encoder, fusion, **{"facts": BY} | options)
    klm.fit(model, split, klm.TrainConfig(**settings))
    return model


@pytest.mark.parametrize("fusion", FUSIONS)
def test_facts_are_a_part_of_the_score(cut, encoder, fusion):
    model = trained(cut, encoder, fusion)
    user, item = model.users[3], cut.test["item_id"].iloc[0]
    parts = model.explain(user, item)
    assert parts["item facts"] != 0
    assert "item facts" in klm.KLMRecommender.from_split(cut, encoder, fusion, facts=()).explain(user, item)
    assert model.name.endswith("+ facts") and "facts of directors, cast" in repr(model)
    assert "not read  no column" in repr(model)


def test_facts_say_what_nothing_else_says(films, cut):
    """New items: with the facts far above chance, with the facts of others not, without them not."""

    def auc(split, **options):
        model = trained(split, settings=FAST | {"epochs": 20, "id_dropout": 0.5, "patience": 20}, **options)
        return klm.evaluate(model, split).metrics["user_auc"]

    of_others = klm.split(facts_shuffled(films), "cold_item")
    assert auc(cut) > 0.75 and auc(of_others) < 0.65 and auc(cut, facts=()) < 0.65


def test_saved_and_loaded(cut, films, tmp_path):
    model = trained(cut, settings=INTERACTION)
    model.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.predict(*all_pairs(films)), model.predict(*all_pairs(films)))
    new = films.items.head(2).reset_index().assign(item_id=[901, 902])
    users, ids = [1, 2, 3, 4], [901, 902, 901, 902]
    np.testing.assert_array_equal(again.with_items(new).predict(users, ids), model.with_items(new).predict(users, ids))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, saved: tensors.update(fact_axes=tensors["fact_axes"] * float("nan")),
        lambda tensors, saved: tensors.update(fact_axes=tensors["fact_axes"][1:]),
        lambda tensors, saved: tensors.pop("fact_axes"),
        lambda tensors, saved: saved["facts"].update(columns=["cast"]),
        lambda tensors, saved: saved.update(facts=None),
        lambda tensors, saved: saved.pop("facts"),
    ],
)
def test_a_file_whose_facts_do_not_fit(cut, tmp_path, change):
    klm.KLMRecommender.from_split(cut, facts=BY).save_pretrained(tmp_path)
    tensors, saved = files.read_tensors(tmp_path / FILE)
    change(tensors, saved)
    files.write_tensors(tmp_path / FILE, tensors, saved)
    with pytest.raises(klm.CheckpointError, match="content"):
        klm.KLMRecommender.from_pretrained(tmp_path)


def test_a_film_that_nobody_has_rated_from_facts_that_were_typed_in(cut, films):
    model = trained(cut, settings=FAST | {"epochs": 20, "id_dropout": 0.5, "patience": 20})
    typed = films.items.head(1).reset_index()
    new = [
        typed.assign(item_id=900 + n, directors=[names]) for n, names in enumerate((["Anna O'Hara"], ["Béla Ürgel"]))
    ]
    new.append(typed.assign(item_id=902, directors=[["somebody new"]], cast=[[]]))
    grown = [model.with_items(one).predict(model.users, [900 + n] * len(model.users)) for n, one in enumerate(new)]
    women = (films.users["gender"] == "F").to_numpy()
    gap = [scores[women].mean() - scores[~women].mean() for scores in grown]
    assert gap[0] > 0.1 > -0.1 > gap[1] and gap[0] > gap[2] > gap[1]
    with pytest.raises(klm.DataError, match="directors"):
        model.with_items(typed.assign(item_id=903).drop(columns="directors"))
    with pytest.raises(klm.DataError, match="no list of texts"):
        model.with_items(typed.assign(item_id=903, directors="Anna O'Hara"))


def test_vectors_of_your_own(cut, films, tmp_path):
    own = np.where(films.items["directors"].str[0] == "Anna O'Hara", 1.0, -1.0)[:, None]
    model = trained(cut, facts=own)
    assert "facts of your own" in repr(model) and model.name.endswith("+ facts")
    model.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.predict(*all_pairs(films)), model.predict(*all_pairs(films)))
    with pytest.raises(klm.ConfigError, match="vectors of facts of your own"):
        again.with_items(films.items.head(1).reset_index().assign(item_id=901))
    for wrong in (own[1:], own[:, 0], own * np.nan):
        with pytest.raises(klm.DataError, match="no vectors of the items"):
            klm.KLMRecommender.from_split(cut, facts=wrong)


def test_shown_to_kernel_ridge_too(films, cut):
    model = klm.baselines.KernelRidge(facts=films.facts).fit(cut)
    plain = klm.baselines.KernelRidge().fit(cut)
    assert model.name == "kernel ridge + facts"
    assert not np.allclose(model.predict(*all_pairs(films)), plain.predict(*all_pairs(films)))


def test_no_such_facts(cut):
    for facts in (("director",), ("title",), ("year",)):
        with pytest.raises(klm.DataError, match="facts"):
            klm.KLMRecommender.from_split(cut, facts=facts)
    with pytest.raises(klm.ConfigError, match="tuple of names"):
        klm.KLMRecommender.from_split(cut, facts="directors")


def test_without_facts_nothing_changes(cut):
    """The same start values, whatever is known of the items besides."""
    a, b = (klm.KLMRecommender.from_split(cut, facts=facts).fusion for facts in ((), BY))
    for name in ("item_ids", "history", "item_map", "user_map"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert a.facts_map.numel() == 0 and b.facts_map.shape == (b.facts.shape[1], b.width + 1)
