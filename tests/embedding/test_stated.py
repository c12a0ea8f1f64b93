"""A model that says how it wants to be used is not contradicted in silence."""

import inspect
import json
import shutil

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from klm_utils.data.assets import fetch
from klm_utils.embedding import TextEncoder, backbones


def write(folder, **files):
    """A model of sentence-transformers without its weights; keys are file names with _ for the slash, dots left out."""
    types = files.pop("modules", ["Transformer", "Pooling", "Normalize"])
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
    modules = [
        {"name": str(n), "path": paths[kind], "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(types)
    ]
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    places = {"pooling": "1_Pooling/config.json", "bert": "sentence_bert_config.json"}
    for name, content in files.items():
        (folder / places.get(name, "config_sentence_transformers.json")).write_text(json.dumps(content))


OLD = {"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"pooling": OLD | {"pooling_mode_cls_token": True}}, {"pooling": "cls", "normalize": True}),
        ({"pooling": OLD | {"pooling_mode_mean_tokens": True}}, {"pooling": "mean", "normalize": True}),
        ({"pooling": OLD | {"pooling_mode_lasttoken": True}}, {"pooling": "last", "normalize": True}),
        ({"pooling": OLD | {"pooling_mode_max_tokens": True}}, {"pooling": "max", "normalize": True}),
        (
            {"pooling": OLD | {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}},
            {"pooling": "cls+max", "normalize": True},
        ),
        ({"pooling": {"pooling_mode": "cls", "include_prompt": True}}, {"pooling": "cls", "normalize": True}),
        ({"pooling": {"pooling_mode": ["mean", "max"]}}, {"pooling": "mean+max", "normalize": True}),
        ({"modules": ["Transformer", "Pooling"], "pooling": {}}, {"pooling": "mean", "normalize": False}),
        (
            {"modules": ["Transformer", "Pooling", "Dense"], "pooling": {"pooling_mode": "mean"}},
            {"pooling": "mean", "normalize": False, "layers": ["Dense"]},
        ),
        (
            {"pooling": {"pooling_mode": "mean"}, "bert": {"max_seq_length": 512}},
            {"pooling": "mean", "normalize": True, "max_length": 512},
        ),
        (
            {"pooling": {}, "prompts": {"prompts": {"query": "q: ", "passage": ""}, "default_prompt_name": None}},
            {"pooling": "mean", "normalize": True, "prefix": "q: "},
        ),
        (
            {
                "pooling": {},
                "prompts": {"prompts": {"query": "q: ", "passage": "p: "}, "default_prompt_name": "passage"},
            },
            {"pooling": "mean", "normalize": True, "prefix": "p: "},
        ),
        ({"pooling": {}, "prompts": {"prompts": {"query": ""}}}, {"pooling": "mean", "normalize": True}),
    ],
)
def test_what_the_files_say_is_read(files, said, tmp_path):
    write(tmp_path / "model", **files)
    assert backbones.stated(tmp_path / "model") == said


def test_a_plain_folder_or_a_broken_file_says_nothing(tmp_path):
    assert backbones.stated(tmp_path) == {}
    (tmp_path / "modules.json").write_text("{")
    assert backbones.stated(tmp_path) == {}


def test_the_defaults_are_those_of_the_signature():
    parameters = inspect.signature(TextEncoder.from_pretrained).parameters
    assert {name: parameters[name].default for name in backbones.TEXT_ENCODER} == backbones.TEXT_ENCODER


@pytest.fixture
def cls_model(tmp_path):
    """minilm, made for the first token, without normalisation, for 128 tokens and with a prompt."""
    folder = tmp_path / "cls"
    shutil.copytree(fetch("minilm"), folder)
    shutil.rmtree(folder / "1_Pooling")
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    files = {"pooling": OLD | {"pooling_mode_cls_token": True}, "bert": {"max_seq_length": 128}, "prompts": prompts}
    write(folder, modules=["Transformer", "Pooling"], **files)
    return folder


def test_one_line_tells_what_to_pass_and_that_gives_the_vectors_of_its_authors(cls_model, caplog):
    enc = TextEncoder.from_pretrained(cls_model, device="cpu")
    assert (enc.pooling, enc.normalize, enc.max_length, enc.prefix) == ("mean", True, 256, ""), "the arguments decide"
    (line,) = caplog.messages
    asked = "normalize=False, pooling='cls', max_length=128, prefix='query: '"
    assert str(cls_model) in line and asked in line
    caplog.clear()
    texts = ["Toy Story", "a long text " * 100]
    enc = TextEncoder.from_pretrained(cls_model, device="cpu", **eval(f"dict({asked})"))
    assert caplog.text == "", "who follows is not told again"
    theirs = SentenceTransformer(str(cls_model), device="cpu").encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(enc.encode(texts, cache=False), theirs, atol=1e-5)


def test_who_decides_otherwise_is_left_alone(cls_model, caplog):
    settings = {"pooling": "last", "max_length": 64, "prefix": "", "normalize": False}
    TextEncoder.from_pretrained(cls_model, device="cpu", **settings)
    assert caplog.text == ""


def test_a_pooling_or_a_layer_that_is_not_here_is_told(cls_model, caplog):
    shutil.rmtree(cls_model / "1_Pooling")
    write(cls_model, modules=["Transformer", "Pooling", "Dense"], pooling=OLD | {"pooling_mode_max_tokens": True})
    TextEncoder.from_pretrained(cls_model, device="cpu", normalize=False, max_length=128, prefix="query: ")
    assert "wants a layer Dense and the pooling max" in caplog.text and "pass" not in caplog.text


@pytest.mark.parametrize("name", ["minilm", "e5", "folder"])
def test_the_pinned_models_agree_with_the_defaults(name, caplog):
    TextEncoder.from_pretrained(fetch("minilm") if name == "folder" else name, device="cpu")
    assert caplog.text == ""
