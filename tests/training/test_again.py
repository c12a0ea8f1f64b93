"""A second fit, a second save, a second run in the same folder: nothing of the first lingers, and nothing is lost."""

import numpy as np
import pytest
from worlds import BOTH, INTERACTION, LABEL, ctrl_c, rows_of, same, stepped, tiny_encoder, weights

import klm_utils as klm
from klm_utils import files
from klm_utils.embedding import modes
from klm_utils.errors import CheckpointError
from klm_utils.training import loop

UNEVEN = [" ".join(["red", "big", "plus", "shoe"][: 1 + n % 4] * (1 + n % 3)) for n in range(30)]


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield tiny_encoder(layers=2)


def test_a_second_fit_measures_valid_with_its_own_probabilities(build, split):
    turned, fresh = build(), build()
    turned.scale.fill_(-1.0)  # as Platt's fit leaves a model that ranks valid backwards
    again = klm.fit(turned, split, klm.TrainConfig(**INTERACTION))
    assert rows_of(again).equals(rows_of(klm.fit(fresh, split, klm.TrainConfig(**INTERACTION))))
    assert same(turned, fresh) and turned.scale == 1.0


def test_the_card_forgets_the_metrics_of_other_weights_and_keeps_its_own(build, split, tmp_path):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**LABEL))
    model.save_pretrained(tmp_path, reports=[klm.evaluate(model, split, level=0.5)])
    card = (tmp_path / "README.md").read_text()
    assert "| auc |" in card and "(50%) |" in card
    klm.KLMRecommender.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == card, "loaded and saved, it is what it was"
    klm.fit(model, split, klm.TrainConfig(**INTERACTION))
    model.save_pretrained(tmp_path)
    assert "| auc |" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("step", [6, 18], ids=["while the head learns", "while the texts are read"])
def test_the_same_model_goes_on_after_ctrl_c_bit_for_bit(split, deep, tmp_path, monkeypatch, step):
    monkeypatch.setattr(
        "klm_utils.models.item_texts.TOGETHER", 4
    )  # other batches than those of `encode`: other last bits

    def build():
        return klm.KLMRecommender.from_split(split, deep, mode="full", texts=UNEVEN)

    config = klm.TrainConfig(**INTERACTION | {"epochs": 6, "head_epochs": 3, "lr_text": 0.01})
    whole, model = build(), build()
    history = klm.fit(whole, split, config)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stepped(patch, step, ctrl_c)
        klm.fit(model, split, config, checkpoint_dir=tmp_path)
    again = klm.fit(model, split, config, checkpoint_dir=tmp_path)
    assert same(whole, model) and rows_of(again).equals(rows_of(history))


@BOTH
def test_a_run_that_another_process_began_here_is_not_overwritten(build, split, settings, tmp_path):
    other = klm.TrainConfig(**settings | {"seed": 1})

    def meanwhile(model):
        if not (tmp_path / loop.RUN).exists():
            klm.fit(build(), split, other, checkpoint_dir=tmp_path)
        return {}

    with pytest.raises(CheckpointError, match="another run"):
        klm.fit(build(), split, klm.TrainConfig(**settings), checkpoint_dir=tmp_path, watch=meanwhile)
    assert files.read_tensors(tmp_path / loop.RUN)[1]["config seed"] == 1


def test_a_refused_run_leaves_the_model_as_it_was(build, split, tmp_path):
    klm.fit(build(), split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path)
    model = build()
    before = weights(model)
    with pytest.raises(CheckpointError, match="longer"):
        klm.fit(model, split, klm.TrainConfig(**LABEL | {"epochs": 1}), checkpoint_dir=tmp_path)
    assert same(model, before)


def test_head_epochs_do_not_keep_a_frozen_model_waiting(build, split):
    config = klm.TrainConfig(**LABEL | {"epochs": 9, "head_epochs": 8, "patience": 1, "lr": 0.0})
    assert len(klm.fit(build(), split, config).epochs) == 2


def test_an_encoder_that_is_deleted_is_there_or_not(split, deep, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(path):
        raise Killed

    model = klm.KLMRecommender.from_split(split, deep, mode="full")
    model.save_pretrained(tmp_path)
    (home,) = tmp_path.glob("encoder-*")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(modes.shutil, "rmtree", killed)
        modes.remove(home)
    assert not home.exists()
    model.save_pretrained(tmp_path)
    again = klm.TextEncoder.from_pretrained(str(home), max_length=32)
    assert np.array_equal(again.encode(["red car"], cache=False), deep.encode(["red car"], cache=False))


def test_the_folder_of_another_library_is_left_alone(build, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="another kind"):
        build().save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
