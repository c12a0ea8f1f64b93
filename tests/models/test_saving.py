"""A saved model next to other writers, other people's files and other people's content."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import RepoUrl
from safetensors.torch import save_file
from worlds import FAST, INTERACTION, LABEL, all_pairs, same, tiny_encoder

import klm_utils as klm
from klm_utils import files
from klm_utils.embedding import modes
from klm_utils.errors import CheckpointError
from klm_utils.models import card
from klm_utils.models.saving import FILE

ROOT = Path(files.__file__).parents[1]
SAVE_OFTEN = """
import sys; sys.path[:0] = [{root!r}, {here!r}]
import torch; torch.set_num_threads(1)
from pathlib import Path
from worlds import planted, tiny_encoder
import klm_utils as klm
split = klm.split(planted(), "random")
model = klm.KLMRecommender.from_split(split, tiny_encoder(layers={layers}), mode="full")
print("ready", flush=True); sys.stdin.readline()
for _ in range(15):
    model.save_pretrained({folder!r})
"""


@pytest.fixture(scope="module")
def trained(split, tmp_path_factory):
    """A model that brings its own encoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield klm.KLMRecommender.from_split(split, tiny_encoder(layers=2), mode="full")


def home_of(folder):
    (home,) = folder.glob("encoder-*")
    return home


@pytest.mark.parametrize("layers", [(1, 1), (1, 2)], ids=["the same model", "two models"])
def test_two_processes_save_to_one_folder(tmp_path, layers):
    """Whoever is last, what lies there is whole: the model, its encoder and no other."""
    folder = tmp_path / "a model"
    writers = []
    for number in layers:
        code = SAVE_OFTEN.format(root=str(ROOT), here=str(Path(__file__).parents[1]), layers=number, folder=str(folder))
        command, pipe = [sys.executable, "-c", code], subprocess.PIPE
        writers.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
    for writer in writers:
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        errors = writer.communicate()[1]
        assert writer.returncode == 0, errors[-2000:]
    model = klm.KLMRecommender.from_pretrained(folder)
    assert home_of(folder).name == model.trained["folder"]
    files.check_seal(home_of(folder))


HOLD = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from klm_utils import files
with files.locked_folder(Path({folder!r})):
    print("ready", flush=True); sys.stdin.readline()
"""


def test_a_folder_that_another_process_holds_is_told_after_a_while(build, tmp_path, monkeypatch):
    """The other one has a cache of its own."""
    code, pipe = HOLD.format(root=str(ROOT), folder=str(tmp_path / "model")), subprocess.PIPE
    own = os.environ | {"KLM_CACHE": str(tmp_path / "its cache")}
    monkeypatch.setenv("KLM_CACHE", str(tmp_path / "our cache"))
    monkeypatch.setattr(files, "WAIT", 0.2)
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, env=own) as other:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(CheckpointError, match="another process holds") as caught:
            build().save_pretrained(tmp_path / "model")
        lock = Path(caught.value.where)
        assert lock.is_file() and "0.2 seconds" in caught.value.found and "end it" in caught.value.remedy
        other.communicate("go\n")
    build().save_pretrained(tmp_path / "model")  # the remedy
    assert klm.KLMRecommender.from_pretrained(tmp_path / "model").name
    lock.unlink()


def test_an_altered_encoder_is_seen_and_saved_anew(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    home = home_of(tmp_path)
    for change in (
        lambda: (home / "config.json").write_text((home / "config.json").read_text().replace("gelu", "relu")),
        lambda: (home / "tokenizer.json").unlink(),
        lambda: (home / files.SEAL).write_text("[]"),
        lambda: (home / files.SEAL).write_text("["),
    ):
        change()
        with pytest.raises(klm.AssetError, match="not as they were written") as caught:
            klm.TextEncoder.from_pretrained(str(home), max_length=32)
        assert str(home) in caught.value.where
        trained.save_pretrained(tmp_path)
        files.check_seal(home)
        assert klm.TextEncoder.from_pretrained(str(home), max_length=32).encode(["red car"], cache=False).any()


def test_a_file_that_the_user_put_into_the_folder_of_an_encoder_is_seen_and_stays(trained, build, tmp_path):
    trained.save_pretrained(tmp_path)
    home = home_of(tmp_path)
    (home / ".DS_Store").write_text("left by a system, no harm")
    trained.save_pretrained(tmp_path)
    (home / "vocab.txt").write_text("mine")
    with pytest.raises(klm.AssetError, match=r"vocab\.txt"):
        klm.TextEncoder.from_pretrained(str(home), max_length=32)
    trained.save_pretrained(tmp_path)
    (aside,) = tmp_path.glob("encoder-*-altered-*")
    assert (aside / "vocab.txt").read_text() == "mine" and not (home / "vocab.txt").exists()
    (home / ".notes").write_text("mine")
    build().save_pretrained(tmp_path)
    assert (home / ".notes").exists() and aside.exists()


def test_a_card_that_somebody_wrote_in_stays(build, tmp_path):
    build().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text((tmp_path / "README.md").read_text() + "\nMy notes\n")
    build().save_pretrained(tmp_path)
    assert "My notes" in (tmp_path / "README.md").read_text()


def test_the_weights_of_another_library_are_not_overwritten(build, tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / FILE)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(CheckpointError, match="another kind"):
        build().save_pretrained(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_wide_layer_can_be_loaded_again(build, tmp_path):
    model = build(fusion="target", hidden=70_000, width=4)
    model.save_pretrained(tmp_path)
    assert same(klm.KLMRecommender.from_pretrained(tmp_path), model)


def test_a_failed_save_leaves_what_the_model_knows_of_its_metrics(build, split, tmp_path):
    model = build()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError):
        model.save_pretrained(tmp_path / "file", reports=[klm.evaluate(model, split, n_boot=10)])
    assert model.measured == []


def test_a_folder_of_the_users_stays(trained, build, tmp_path):
    mine = tmp_path / "encoder-0123456789ab"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    trained.save_pretrained(tmp_path)
    build().save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("encoder-*")] == [mine.name] and (mine / "notes.txt").exists()
    (tmp_path / f"encoder-{trained.texts.encoder.fingerprint[:12]}").mkdir()
    with pytest.raises(CheckpointError, match="another folder"):
        trained.save_pretrained(tmp_path)


def test_what_a_killed_writer_left_is_swept(trained, tmp_path):
    (tmp_path / f"{modes.BESIDE}0123").mkdir(parents=True)
    (tmp_path / f"{modes.BESIDE}0123" / "model.safetensors").write_text("half")
    trained.save_pretrained(tmp_path)
    assert not list(tmp_path.glob(f"{modes.BESIDE}*"))


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX's")
def test_rights_are_those_that_the_user_wants(trained, tmp_path):
    before = os.umask(0o077)
    try:
        trained.save_pretrained(tmp_path / "private")
    finally:
        os.umask(before)
    for path in (tmp_path / "private").rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_home_folder_is_written_with_a_tilde(build, split, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    model = build()
    klm.fit(model, split, klm.TrainConfig(**LABEL | {"epochs": 1}), checkpoint_dir="~/run", log_dir="~/log")
    model.save_pretrained("~/model")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "log", "model"}
    assert same(klm.KLMRecommender.from_pretrained("~/model"), model)


def test_a_loaded_model_does_not_hold_its_file_open(saved):
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    model = klm.KLMRecommender.from_pretrained(saved)
    assert str(saved / FILE) not in maps.read_text() and model.name


def test_a_checkout_that_is_not_installed_saves_too(tmp_path):
    code = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parents[1])!r}]
import importlib.metadata as metadata
version = metadata.version
def without_us(name):
    if name == "klm-course":
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = without_us
import klm_utils as klm
from worlds import planted
klm.KLMRecommender.from_split(klm.split(planted(), "random")).save_pretrained({str(tmp_path)!r})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert f"{card.OURS} {klm.__version__}, " in (tmp_path / "README.md").read_text()


def test_a_folder_in_place_of_the_card_is_told_before_anything_is_written(build, tmp_path):
    (tmp_path / "README.md").mkdir()
    with pytest.raises(CheckpointError, match="model card"):
        build().save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_what_is_pushed_to_the_hub_is_what_a_folder_gets(model, ds, tmp_path, monkeypatch):
    """The hub is played by a folder: there is no network here."""
    asked = {}

    def upload(self, repo_id, folder_path, **options):
        asked.update(options, repo_id=repo_id)
        shutil.copytree(folder_path, tmp_path / "hub")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda self, name, **options: RepoUrl(f"me/{name}"))
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", upload)
    assert model.push_to_hub("films", commit_message="new").endswith("/me/films")
    assert asked == {"commit_message": "new", "repo_id": "me/films"}
    again = klm.KLMRecommender.from_pretrained(tmp_path / "hub")
    assert np.array_equal(again.predict(*all_pairs(ds)), model.predict(*all_pairs(ds)))


def test_a_hub_that_does_not_answer(build, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="the hub did not take") as caught:
        build().push_to_hub("some/model")
    assert "some/model" in caught.value.where


def test_a_model_of_the_hub_is_one_file(saved, model, ds, monkeypatch):
    def download(name, file, revision=None):
        assert (name, file, revision) == ("me/films", FILE, "v1")
        return str(saved / file)

    monkeypatch.setattr("klm_utils.models.saving.hf_hub_download", download)
    monkeypatch.setattr("klm_utils.models.saving.offline", lambda: False)
    again = klm.KLMRecommender.from_pretrained("me/films", revision="v1")
    assert np.array_equal(again.predict(*all_pairs(ds)), model.predict(*all_pairs(ds)))


# content that somebody else made


def rewritten(folder, change, tensors=None):
    """The file with another content and the right checksum."""
    state, saved = files.read_tensors(folder / FILE)
    change(saved)
    files.write_tensors(folder / FILE, state | (tensors or {}), saved)


def put(*path, value):
    def change(saved):
        for key in path[:-1]:
            saved = saved[key]
        saved[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("features", value={"columns": []}),
        put("features", value={"columns": [{"name": "tags", "kind": "list", "values": [["plus"]]}]}),
        put("about", "reads", value={"text": "title"}),
        put("about", "reads", "text", value=[7]),
        put("about", "encoder", "fingerprint", value=""),
        put("about", "encoder", "call", value={"device": "cuda"}),
        put("objective", value="stars"),
        put("item_ids", value=[]),
        put("item_ids", value=[1] * 30),
        put("item_ids", value=None),
        put("user_ids", value=[[1]] * 40),
        put("titles", value=[None] * 30),
        put("about", "settings", value={"width": 10**7}),
        put("about", "settings", "width", value=10**7),
        put("about", "settings", "eval", value=1),
        put("about", "settings", value=[]),
        put("about", "seed", value="x"),
        put("about", "encoder", value=[]),
        put("about", "data", value={"a": 1}),
        put("trained", value={"folder": "../elsewhere", "call": {}}),
        put("trained", value={"folder": "encoder-0123456789ab", "call": {'x=__import__("os")) #': 1}}),
        put("trained", value={"folder": "encoder-0123456789ab", "call": {"pooling": [], "normalize": []}}),
        put("measured", value=[["auc", "x", 0, 0, 0, "p"]]),
        put("unfinished", value=7),
        lambda saved: saved.pop("about"),
        lambda saved: saved["about"].pop("fusion"),
        lambda saved: saved["about"].pop("knowledge"),
        lambda saved: saved.pop("features"),
    ],
)
def test_a_file_with_the_right_checksum_and_another_content(copy, change):
    rewritten(copy, change)
    with pytest.raises(CheckpointError) as caught:
        klm.KLMRecommender.from_pretrained(copy)
    assert str(copy / FILE) in caught.value.where and caught.value.remedy


@pytest.mark.parametrize("name", ["fusion.item_bias", "scale", "shift"])
def test_weights_that_are_no_numbers(copy, name):
    state = files.read_tensors(copy / FILE)[0]
    rewritten(copy, lambda saved: None, {name: state[name] * float("nan")})
    with pytest.raises(CheckpointError, match="content"):
        klm.KLMRecommender.from_pretrained(copy)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[" * 100_000, "[1]", "nothing"], ids=str.__len__)
def test_a_description_that_is_no_object(tmp_path, text, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", lambda *args, **kwargs: text)
        files.write_tensors(tmp_path / FILE, {}, {})
    for read in (files.read_tensors, files.description):
        with pytest.raises(CheckpointError, match="content"):
            read(tmp_path / FILE)


@pytest.mark.parametrize("field", ["rows", "steps"])
def test_a_run_with_another_content(build, split, tmp_path, field):
    config = klm.TrainConfig(**INTERACTION)
    klm.fit(build(), split, config, checkpoint_dir=tmp_path)
    tensors, saved = files.read_tensors(tmp_path / "run.safetensors")
    for value in (None, "x", [{}], -1):
        files.write_tensors(tmp_path / "run.safetensors", tensors, saved | {field: value})
        with pytest.raises(CheckpointError, match="content"):
            klm.fit(build(), split, config, checkpoint_dir=tmp_path)
    files.write_tensors(tmp_path / "run.safetensors", {}, saved)
    with pytest.raises(CheckpointError, match="content"):
        klm.fit(build(), split, config, checkpoint_dir=tmp_path)


def test_names_in_the_card_are_text(build, split, tmp_path):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**FAST | {"epochs": 1}))
    evil = "x\n# Heading\n<script>alert(1)</script> [link](javascript:1) `code` | cell"
    model.about = model.about | {"data": evil, "protocol": evil, "encoder": {"name": evil, "fingerprint": "0"}}
    model.measured = [[evil, 0.5, 0.4, 0.6, 0.95, evil]]
    text = card.card(model, None)
    assert "<script>" not in text and "[link]" not in text and "`code`" not in text
    assert not any(line.startswith("# Heading") for line in text.splitlines())
    assert next(line for line in text.splitlines() if "0.5000" in line).count("|") == 5


# curves


def test_curves_that_cannot_be_written_are_told(build, split, read_only, full_disk):
    folder, locked = read_only
    klm.fit(build(), split, klm.TrainConfig(**LABEL | {"epochs": 1}), log_dir=folder / "log")  # imports tensorboard
    with locked(), pytest.raises(CheckpointError, match="curves"):
        klm.fit(build(), split, klm.TrainConfig(**LABEL), log_dir=folder / "other")

    def broken(model):
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        klm.fit(build(), split, klm.TrainConfig(**LABEL), log_dir=folder / "log", watch=broken)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # TensorBoard's writer, told as well
def test_a_full_disk_below_the_curves_leaves_the_best_weights(build, split, tmp_path, full_disk):
    model = build()
    with full_disk(300), pytest.raises(CheckpointError, match="curves"):
        klm.fit(model, split, klm.TrainConfig(**LABEL | {"epochs": 30, "patience": 30}), log_dir=tmp_path)
    assert "broken off after" in model.name
