"""What notebook 03 measures and draws is what the fusions compute: sums, boxes, weights, shuffles."""

import numpy as np
import pandas as pd
import pytest
import torch

import klm_utils as klm
from klm_utils.course.exercises import ch03
from klm_utils.course.lessons import fusion_boxes as boxes
from klm_utils.course.lessons import fusion_trials as lesson
from klm_utils.fusion import FUSIONS, LAYERS


@pytest.fixture(scope="module")
def drawn(split, encoder):
    return boxes.small(split, encoder, epochs=2, rows=200, steps=5)


@pytest.fixture
def trials(ds, encoder, monkeypatch):
    monkeypatch.setattr(lesson, "load_dataset", lambda name: ds)
    return lesson.Trials({ds.name: encoder}, epochs=1, patience=1, seeds=(0,), draws=20)


def test_the_boxes_of_dot_add_up_to_its_score(drawn):
    for user, item in ((0, 0), (3, 5)):
        with torch.no_grad():
            score = drawn.model.fusion(torch.tensor([user]), torch.tensor([item])).item()
        assert sum(drawn.biases(user, item)) + drawn.boxes(user, item)["dot"]["score"] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_last_box_is_what_the_layer_says_and_what_the_boxes_before_it_give(drawn, name):
    x, own = drawn.inputs(3, 5), drawn.boxes(3, 5)[name]
    assert own["score"] == pytest.approx(drawn.layers[name].layer(x).item())
    last = {
        "hadamard": lambda: own["weights"] @ own["product"],
        "gate": lambda: own["person"] @ own["mix"],
        "concat": lambda: drawn.layers[name].layer.mlp[2](torch.tensor(own["MLP"])).item(),
    }
    assert last.get(name, lambda: own["person"] @ own["film"])() == pytest.approx(own["score"], abs=1e-5)
    assert set(boxes.SOURCES[name]) <= set(own)


def test_the_layers_stand_on_the_vectors_of_dot(drawn):
    for one in drawn.layers.values():
        assert torch.equal(one.item_ids, drawn.model.fusion.item_ids)
    tags = drawn.boxes(3, 5)["tags"]["weights"]
    assert tags.sum() == pytest.approx(1.0, abs=1e-5)


def test_notes_name_the_tags_that_are_there(drawn):
    notes = drawn.notes(3, 5)
    *weights, total = notes["tags"]["attention"].split("\n")
    named = [line.split()[0] for line in weights if not line.startswith("year ")]
    assert sum(float(line.split()[1]) for line in weights) == pytest.approx(1.0, abs=0.03)
    assert notes["target"]["past"].endswith("\nfilms")
    assert total.startswith("= ") and notes["concat"]["MLP"].startswith("hidden units:\n")
    assert set(named) <= {"plus", "minus"} and notes["hadamard"]["product"].count("× w") == 2


def test_nothing_is_trained_twice_and_the_readers_gate_is_trained_each_time(trials, ds):
    runs = trials.measure(ds.name, "random", {"dot": {}, "gate": {"fusion": "gate"}})
    assert trials.measure(ds.name, "random", {"dot": {}}).models["dot"] is runs.models["dot"]
    first, second = (lesson.with_own_gate(trials, ch03.gate, ds.name, "random") for _ in range(2))
    assert first.models["yours"] is not second.models["yours"] and first.models["gate"] is runs.models["gate"]
    assert not [name for name in (*LAYERS, *FUSIONS) if name.startswith(("yours", "half"))], "taken out again"
    assert first.models["half and half"] is second.models["half and half"]
    films, g = boxes.gates(first.models["gate"], first.splits[0])
    assert films["rows"].sum() == len(first.splits[0].train) and g.min() > 0 and g.max() < 1
    assert len(films) == len(g) and (films[["id", "content"]] > 0).all(axis=None)
    said = lesson.versus(first, "gate", "yours")
    assert said.startswith("gate minus yours: all rows +0.000, item interval [") and "within users +0.000" in said
    weaker = trials.measure(ds.name, "random", {"dot": {"decay": 0.1}})
    assert weaker.models["dot"] is not runs.models["dot"], "another decay is another training"
    on_valid = trials.on_valid({f"{ds.name}, random": runs}, {"dot": {}, "gate": {"fusion": "gate"}})
    assert list(on_valid.columns) == ["valid", "seconds"] and lesson.chosen(on_valid, near=1.0) in ("dot", "gate")


def test_a_model_that_forgets_has_no_past_and_one_that_leaves_in_meets_nobody(trials, ds):
    cut = trials.cut(ds, "random", 0)
    model = trials.train(ds, "random", 0, change=lesson.forget)[0]
    assert not model.fusion.history.any()
    model = trials.train(ds, "random", 0, change=lesson.leave_in)[0]
    users, items = model.positions(cut.train["user_id"], cut.train["item_id"])
    assert not model.fusion.met(users, items).any()


def test_without_vectors_of_people_the_biases_are_trained_and_nothing_is_multiplied(trials, ds):
    model = trials.train(ds, "random", 0, change=lesson.only_biases)[0]
    fusion = model.fusion
    assert not fusion.user_ids.any() and not fusion.history.any() and fusion.user_bias.any() and fusion.item_bias.any()
    scores = fusion.grid(torch.arange(3), torch.arange(20))
    assert torch.allclose(scores - scores[:, :1], (scores - scores[:, :1])[0].expand(3, -1), atol=1e-5)


def test_the_product_over_the_whole_history_is_dot(trials, ds, split, encoder):
    with lesson.added("dot, last ten", lesson.Product):
        for past, same in ((10**6, True), (1, False)):
            own = klm.KLMRecommender.from_split(split, encoder=encoder, fusion="dot, last ten", past=past).fusion
            dot = klm.KLMRecommender.from_split(split, encoder=encoder).fusion
            with torch.no_grad():
                dot.history.mul_(10)
            own.load_state_dict(dot.state_dict(), strict=False)
            scores = [one.grid(torch.arange(5), torch.arange(20)) for one in (own, dot)]
            assert torch.allclose(*scores, atol=1e-5) == same
    found = lesson.bake_off(trials, {ds.name: ["random"]})[f"{ds.name}, random"]
    kept = lesson.for_the_pictures(trials, {f"{ds.name}, random": found})
    assert set(kept["auc"][f"{ds.name}, random"]) == set(lesson.WAYS) and not kept["ceilings"]
    assert list(kept["results"][f"controls, {ds.name}, random"]) == list(lesson.CONTROLS)
    assert found.variants == [*lesson.WAYS, *lesson.CONTROLS] and list(lesson.WAYS)[-1] == "dot"


def test_no_weight_goes_to_the_film_itself():
    past, texts = torch.tensor([4, 2, 7]), torch.eye(9)
    ways = lesson.weights_of_past(past, 2, texts, torch.tensor([1.0, 0.0, 3.0]), 0.5, ch03.weights)
    assert [way[1].item() for way in ways.values()] == [0.0] * 4
    assert [round(way.sum().item(), 5) for way in ways.values()] == [1.0] * 4
    fading = ways["recency, with your r"]
    assert fading[2] == pytest.approx(2 * fading[0])


def test_each_model_is_measured_on_train_and_on_test(trials, ds):
    runs = trials.measure(ds.name, "random", {"dot": {}, "gate": {"fusion": "gate"}})
    found = lesson.on_train_and_test(runs)
    assert list(found.index) == ["dot", "gate"] and list(found.columns) == ["train", "test"]
    assert found.loc["gate", "test"] == pytest.approx(runs.values()["gate"].item(), abs=1e-6)


def test_shuffling_an_input_leaves_the_model_as_it_was(trials, ds):
    cut, (model, _) = trials.cut(ds, "random", 0), trials.train(ds, "random", 0)
    before = model.predict(cut.test["user_id"], cut.test["item_id"])
    lost = {name: lesson.losses_of_auc(model, cut, own, deals=2) for name, own in lesson.INPUTS.items()}
    assert np.array_equal(before, model.predict(cut.test["user_id"], cut.test["item_id"]))
    assert lost["item id"] != [0, 0] and all(len(own) == 2 for own in lost.values())
    mean, least, most = lesson.importance(trials.measure(ds.name, "random", {"dot": {}}), "dot")["item id"]
    assert least <= mean <= most


def test_learned_weights_leave_the_target_out(trials, ds):
    model, _ = trials.train(ds, "random", 0, fusion="target")
    user = ds.users.index[0]
    past, weights = boxes.learned_weights(model, user, int(model.fusion.past_rows[0][0]))
    assert weights[0] == 0 and weights[1:].abs().min() > 0 and len(past) == len(weights)


def test_holm_leaves_fewer_differences_than_single_intervals():
    rows = {"a": [0.1, 0, 0, 0.05, 0.15], "b": [0.03, 0, 0, 0.001, 0.059], "c": [0.0, 0, 0, -0.1, 0.1]}
    assert list(lesson.surviving({"films": rows}).values()) == [3, 2, 1]


def test_dealt_genres_are_those_of_other_films(movielens):
    given = lesson.dealt_genres(movielens, 0)["ds"].items["tags"]
    assert sorted(map(tuple, given)) == sorted(map(tuple, movielens.items["tags"]))
    assert list(lesson.wrong_graph()) == ["no graph", "as linked", "shuffled", "genres shuffled"]
    assert (given.map(tuple) != movielens.items["tags"].map(tuple)).mean() > 0.5


def test_facts_enter_as_features_or_as_text():
    shop = klm.load_dataset("shop")
    features = lesson.with_graph("true", "features")(shop, 0)["ds"].items["facts"]
    texts = lesson.with_graph("shuffled", "text", width=64)(shop, 0)
    assert isinstance(features, pd.Series) and len(features) == len(shop.items) == len(texts["texts"])
    assert texts["text_width"] == 64 and list(lesson.graph_rows(["features"])) == [
        "no graph",
        "features, true",
        "features, shuffled",
    ]
