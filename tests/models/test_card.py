"""The model card says what the model is, what it was trained on, how good it is and what for."""

import pytest
from worlds import FAST, tiny_encoder

import klm_utils as klm
from klm_utils.models import card


def test_the_card_has_data_protocol_metrics_with_intervals_and_use(build, split, tmp_path):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**FAST))
    report = klm.evaluate(model, split)
    model.save_pretrained(tmp_path, reports=[report])
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: klm-utils\n") and f"# {model.name}" in text
    assert "planted" in text and split.protocol in text and "Intended use" in text and "Will this user like it?" in text
    for name, value in report.metrics.items():
        low, high = report.intervals[name]
        protocol = report.protocol.replace("|", "/")  # a bar would end the cell
        assert f"| {name} | {value:.4f} | {low:.4f} to {high:.4f} (95%) | {protocol} |" in text
    call = next(line for line in text.splitlines() if line.startswith("model = ")).removeprefix("model = ")
    assert eval(call, {"klm": klm, "FOLDER": str(tmp_path)}).name == model.name


def test_a_card_without_reports_says_so_and_a_later_one_replaces_it(build, split, tmp_path):
    model = build()
    klm.fit(model, split, klm.TrainConfig(**FAST))
    model.save_pretrained(tmp_path)
    assert card.NONE in (tmp_path / "README.md").read_text()
    model.save_pretrained(tmp_path, reports=[klm.evaluate(model, split)])
    assert card.NONE not in (tmp_path / "README.md").read_text()
    model.save_pretrained(tmp_path)
    assert card.NONE not in (tmp_path / "README.md").read_text(), "the model still knows its report"


def test_a_card_that_somebody_wrote_stays(build, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    build().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize("mode", ["frozen", "partial"])
def test_the_card_names_the_mode_and_the_folder_of_a_trained_encoder(split, tmp_path, mode):
    model = klm.KLMRecommender.from_split(split, tiny_encoder(layers=2), mode=mode)
    model.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "read of the items: title, tags\n" in text
    assert f"language model: tiny, mode {mode}" in text and ("TextEncoder" in text) == (mode == "partial")
