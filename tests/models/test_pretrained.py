"""save_pretrained and from_pretrained: the same model again, or an error and the old one unharmed."""

import hashlib
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from worlds import FAST, all_pairs, planted

import klm_utils as klm
from klm_utils.errors import CheckpointError
from klm_utils.models.saving import FILE


def equal_models(a, b, ds):
    users, items = all_pairs(ds)
    assert np.array_equal(a.predict(users, items), b.predict(users, items))
    for user in ds.users.index[:5]:
        pd.testing.assert_frame_equal(a.recommend(user), b.recommend(user), check_exact=True)
    assert (a.about, a.name, a.objective, a.scale, a.shift) == (b.about, b.name, b.objective, b.scale, b.shift)
    assert a.items.equals(b.items) and a.users.equals(b.users) and a.users.dtype == b.users.dtype


def test_a_saved_model_is_the_same_model(model, saved, ds, split):
    again = klm.KLMRecommender.from_pretrained(saved)
    equal_models(model, again, ds)
    equal_models(model, klm.KLMRecommender.from_pretrained(str(saved)), ds)
    klm.fit(again, split, klm.TrainConfig(**FAST))  # and can be trained on


@pytest.mark.parametrize("objective", ["label", "interaction"])
def test_text_ids_survive(tmp_path, objective):
    ds = planted(text_ids=True)
    split = klm.split(ds, "cold_user", shown=2)
    model = klm.KLMRecommender.from_split(split, width=np.int64(8))
    klm.fit(model, split, klm.TrainConfig(objective=objective, **FAST | {"batch": 16}))
    model.save_pretrained(tmp_path / "модель é")
    again = klm.KLMRecommender.from_pretrained(tmp_path / "модель é")
    equal_models(model, again, ds)
    assert again.objective == objective and again.recommend(ds.users.index[0]).item_id[0] in set(ds.items.index)


def test_a_saved_model_keeps_its_settings_when_defaults_change(ds, split, tmp_path, monkeypatch):
    """What was left out when it was built is written down."""
    model = klm.KLMRecommender.from_split(split)
    model.save_pretrained(tmp_path)
    defaults = klm.fusion.DotFusion.__init__.__defaults__
    monkeypatch.setattr(klm.fusion.DotFusion.__init__, "__defaults__", (5, *defaults[1:]))
    assert klm.KLMRecommender.from_split(split).fusion.width == 5
    equal_models(model, klm.KLMRecommender.from_pretrained(tmp_path), ds)


def test_the_folder_needs_nothing_else(saved, model):
    assert {file.name for file in saved.iterdir()} == {FILE, "README.md"}
    assert (saved / FILE).stat().st_size < 200_000, "no language model inside"


def test_saving_again_replaces(model, copy, ds, split):
    other = klm.KLMRecommender.from_split(split, seed=5)
    other.save_pretrained(copy)
    equal_models(other, klm.KLMRecommender.from_pretrained(copy), ds)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.999])
def test_a_file_cut_short(copy, share):
    content = (copy / FILE).read_bytes()
    (copy / FILE).write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="cut short") as caught:
        klm.KLMRecommender.from_pretrained(copy)
    assert str(copy / FILE) in caught.value.where and caught.value.remedy


def test_an_edited_file(copy):
    content = (copy / FILE).read_bytes()
    for old, new in ((b'\\"about\\"', b'\\"abouu\\"'), (content[-1:], bytes([content[-1] ^ 1]))):
        at = content.rindex(old)
        (copy / FILE).write_bytes(content[:at] + new + content[at + len(old) :])
        with pytest.raises(CheckpointError, match="edited"):
            klm.KLMRecommender.from_pretrained(copy)


def test_no_model_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KLM_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for place in (
        "absent",
        tmp_path / "absent",
        tmp_path / "empty",
        "empty",
        "empty/model",
        "owner/model",
        "",
        "a b/c",
    ):
        with pytest.raises(CheckpointError) as caught:
            klm.KLMRecommender.from_pretrained(place)
        assert ("hub" in caught.value.what) == (place in ("owner/model", "a b/c")), "the hub is asked only when needed"


def test_a_file_of_something_else(copy, model, ds, split, tmp_path):
    save_file({"embeddings.weight": torch.ones(3, 3)}, copy / FILE, {"format": "pt"})
    with pytest.raises(CheckpointError):
        klm.KLMRecommender.from_pretrained(copy)
    fresh = klm.KLMRecommender.from_split(split)
    klm.fit(fresh, split, klm.TrainConfig(epochs=1), checkpoint_dir=tmp_path / "run")
    shutil.copy(tmp_path / "run" / "run.safetensors", copy / FILE)
    with pytest.raises(CheckpointError, match="not a KLMRecommender"):
        klm.KLMRecommender.from_pretrained(copy)


def digest(folder):
    return hashlib.sha256((folder / FILE).read_bytes()).hexdigest()


def test_a_full_disk_leaves_the_old_model(model, copy, ds, split, full_disk):
    other, before = klm.KLMRecommender.from_split(split, seed=5), digest(copy)
    with full_disk(), pytest.raises(CheckpointError) as caught:
        other.save_pretrained(copy)
    assert str(copy) in caught.value.where and digest(copy) == before
    assert {file.name for file in copy.iterdir()} == {FILE, "README.md"}
    equal_models(model, klm.KLMRecommender.from_pretrained(copy), ds)


def test_a_closed_folder_and_a_file_in_its_place(model, saved, read_only, tmp_path):
    folder, locked = read_only
    shutil.copytree(saved, folder / "old")
    with locked():
        for place in (folder / "old", folder / "new"):
            with pytest.raises(CheckpointError, match=str(place)):
                model.save_pretrained(place)
        assert klm.KLMRecommender.from_pretrained(folder / "old").name == model.name
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="file"):
        model.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
