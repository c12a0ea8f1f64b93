"""A run that was stopped, at any moment and in any way, goes on as if nothing had happened, or says why not."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds import BOTH, LABEL, altered, ctrl_c, rows_of, same, stepped, weights

import klm_utils as klm
from klm_utils import files
from klm_utils.errors import CheckpointError
from klm_utils.training import loop

ROOT = Path(loop.__file__).parents[2]


def no_step():
    raise AssertionError("a step was taken")


@pytest.mark.parametrize("objective", ["label", "interaction"])
def test_a_killed_run_goes_on_as_if_it_had_never_stopped(tmp_path, objective):
    script = Path(__file__).with_name("killed.py")
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(script.parents[1])!r}]; import runpy; "
    code += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, str(tmp_path), objective]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert len(found) == 7
    for moment, (code, _, *equal) in found.items():
        assert code == -signal.SIGKILL and all(equal), (moment, found)
    epochs = {moment: values[1] for moment, values in found.items()}
    assert epochs["in_the_first_step"] == 0 and epochs["in_a_later_step"] >= 1
    assert epochs["while_writing"] == epochs["before_the_file_is_moved_in"] == 1
    assert epochs["after_the_file_was_moved_in"] == 3 and epochs["after_the_last_epoch"] == 5


@BOTH
def test_an_interrupted_run_goes_on(build, split, settings, tmp_path, monkeypatch):
    whole = build()
    history = klm.fit(whole, split, klm.TrainConfig(**settings))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stepped(patch, 9, ctrl_c)
        klm.fit(build(), split, klm.TrainConfig(**settings), checkpoint_dir=tmp_path)
    first = files.description(tmp_path / "run.safetensors")["rows"]
    assert 0 < len(first) < 4
    model = build()
    second = klm.fit(model, split, klm.TrainConfig(**settings), checkpoint_dir=tmp_path)
    assert same(model, whole) and rows_of(second).equals(rows_of(history)) and second.stopped == "epochs"
    assert second.epochs["seconds"].tolist()[: len(first)] == [row["seconds"] for row in first]


@BOTH
def test_a_finished_run_is_read_and_not_trained(build, split, settings, tmp_path, monkeypatch):
    model = build()
    history = klm.fit(model, split, klm.TrainConfig(**settings), checkpoint_dir=tmp_path)
    stepped(monkeypatch, 1, no_step)
    again = build()
    second = klm.fit(again, split, klm.TrainConfig(**settings, verbose=False), checkpoint_dir=str(tmp_path))
    assert same(again, model) and second.epochs.equals(history.epochs) and second.stopped == history.stopped
    assert (again.scale, again.shift, again.objective) == (model.scale, model.shift, model.objective)
    with pytest.raises(AssertionError, match="a step was taken"):
        klm.fit(build(), split, klm.TrainConfig(**settings), checkpoint_dir=tmp_path / "elsewhere")


def test_more_epochs_go_on_from_the_last_one_not_from_the_best(build, split, tmp_path):
    config = klm.TrainConfig(**LABEL | {"lr": 0.05, "decay_ids": 0.0, "decay_maps": 0.0, "patience": 50})
    whole = build()
    history = klm.fit(whole, split, replace(config, epochs=12))
    part = klm.fit(build(), split, replace(config, epochs=8), checkpoint_dir=tmp_path)
    assert part.best_epoch < 8, "else the test shows nothing"
    model = build()
    second = klm.fit(model, split, replace(config, epochs=12), checkpoint_dir=tmp_path)
    assert same(model, whole) and rows_of(second).equals(rows_of(history))


@pytest.mark.parametrize(
    ("change", "named", "values"),
    [
        ({"config": {"lr": 0.5}}, "config lr", (0.02, "0.5")),
        ({"config": {"seed": 7}}, "config seed", (0, "7")),
        ({"config": {"loss": "bce"}}, "config loss", ("squared_error", "bce")),
        ({"model": {"seed": 7}}, "model seed", (0, "7")),
        ({"model": {"width": 7}}, "model settings", (None, "'width': 7")),
        ({"model": {"knowledge": "shuffled"}}, "model knowledge", ("true", "shuffled")),
        ({"model": {"encoder": None}}, "model encoder", (None, "None")),
        ({"split": "temporal"}, "model protocol", (None, "temporal")),
        ({"part": "train"}, "rows and features", (None, "")),
        ({"part": "valid"}, "rows and features", (None, "")),
        ({"titles": True}, "model texts", (None, "")),
    ],
)
def test_a_run_of_something_else_is_refused_and_kept(ds, split, encoder, tmp_path, change, named, values):
    klm.fit(klm.KLMRecommender.from_split(split, encoder), split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path)
    before = (tmp_path / loop.RUN).read_bytes()
    other = klm.split(ds, change["split"]) if "split" in change else split
    if "part" in change:
        other = klm.split(altered(ds, getattr(split, change["part"]).index), "random")
    if "titles" in change:
        other = klm.split(replace(ds, items=ds.items.assign(title=ds.items["title"] + "!")), "random")
    options = {"encoder": encoder} | change.get("model", {})
    model = klm.KLMRecommender.from_split(other, **options)
    start = weights(model)
    with pytest.raises(CheckpointError, match="another run") as caught:
        klm.fit(model, other, klm.TrainConfig(**LABEL | change.get("config", {})), checkpoint_dir=tmp_path)
    assert caught.value.where.endswith(named) and str(tmp_path) in caught.value.where
    assert values[0] is None or caught.value.found == values[0]
    assert values[1] in caught.value.expected
    assert (tmp_path / loop.RUN).read_bytes() == before and same(start, model)


def test_test_rows_do_not_make_another_run(ds, split, tmp_path):
    """Nobody reads them, so a run goes on when they change."""
    klm.fit(klm.KLMRecommender.from_split(split), split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path)
    other = klm.split(altered(ds, split.test.index), "random")
    model = klm.KLMRecommender.from_split(other)
    assert len(klm.fit(model, other, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path).epochs) == 4


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_a_damaged_run_is_refused(build, split, tmp_path, share):
    klm.fit(build(), split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path)
    path = tmp_path / loop.RUN
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="cut short") as caught:
        klm.fit(build(), split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path)
    assert str(path) in caught.value.where


def test_a_model_in_place_of_a_run_is_refused(build, split, tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / loop.RUN)
    with pytest.raises(CheckpointError, match="another run"):
        klm.fit(model, split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path)


def test_a_full_disk_leaves_the_old_run_and_a_model_that_predicts(build, split, tmp_path, full_disk):
    two, config = build(), klm.TrainConfig(**LABEL)
    klm.fit(two, split, replace(config, epochs=2), checkpoint_dir=tmp_path)
    model = build()
    with full_disk(), pytest.raises(CheckpointError, match="cannot write"):
        klm.fit(model, split, config, checkpoint_dir=tmp_path)
    assert len(files.read_tensors(tmp_path / loop.RUN)[1]["rows"]) == 2
    assert [file.name for file in tmp_path.iterdir()] == [loop.RUN]
    rows = split.valid  # calibrated, though the training broke off
    assert model.predict(rows["user_id"], rows["item_id"]).mean() == pytest.approx(rows["label"].mean(), abs=0.02)
    whole, again = build(), build()
    klm.fit(whole, split, config)
    klm.fit(again, split, config, checkpoint_dir=tmp_path)
    assert same(whole, again)


def test_a_run_that_is_longer_is_refused(build, split, tmp_path):
    config = klm.TrainConfig(**LABEL)
    klm.fit(build(), split, config, checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match="longer"):
        klm.fit(build(), split, replace(config, epochs=2), checkpoint_dir=tmp_path)


def test_a_closed_folder_and_a_file_in_its_place(build, split, read_only, tmp_path):
    folder, locked = read_only
    (tmp_path / "file").write_text("mine")
    with locked(), pytest.raises(CheckpointError, match=str(folder)):
        klm.fit(build(), split, klm.TrainConfig(**LABEL), checkpoint_dir=folder / "new")
    with pytest.raises(CheckpointError, match="cannot write"):
        klm.fit(build(), split, klm.TrainConfig(**LABEL), checkpoint_dir=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_numbers_of_numpy_can_be_written(build, split, tmp_path):
    config = klm.TrainConfig(**LABEL | {"epochs": np.int64(2), "lr": np.float64(0.02), "batch": np.int32(64)})
    klm.fit(build(), split, replace(config, patience=np.int64(2)), checkpoint_dir=tmp_path)
    assert (tmp_path / loop.RUN).is_file()


def test_killed_at_any_time_it_goes_on_bit_for_bit(tmp_path):
    """SIGKILL from outside: ten times spread over the time of a run, and four inside the write of a checkpoint."""
    script = Path(__file__).with_name("killed_anytime.py")
    path = os.pathsep.join([str(ROOT), str(script.parents[1])])
    command = [sys.executable, str(script), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["anytime"] == [[True, True]] * 10, "killed, and goes on bit for bit"
    assert len(found["writing"]) == 4 and all(found["writing"])
