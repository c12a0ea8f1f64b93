"""What `KLMRecommender.from_split` and `save_pretrained` refuse, and checks that `fit` shares with them."""

from inspect import signature
from os import PathLike
from pathlib import Path

from klm_utils import files
from klm_utils.data.splits import Split
from klm_utils.embedding import modes
from klm_utils.errors import CheckpointError, ConfigError, DataError, check_choice, check_kind
from klm_utils.fusion import FUSIONS
from klm_utils.knowledge.controls import KINDS
from klm_utils.knowledge.templates import item_texts

PROFILES = ("features", "text", "both")
READABLE = ("true", "shuffled")  # a language model that is trained reads texts; the other controls are vectors


def settings_of(fusion: str) -> dict:
    """The settings of a fusion and their defaults."""
    fixed = getattr(FUSIONS[fusion], "keywords", {}).keys() | {"catalogue", "seed"}
    return {name: p.default for name, p in signature(FUSIONS[fusion]).parameters.items() if name not in fixed}


def checked_texts(ds, texts, encoder) -> list[str]:
    """The texts of the items, none without an encoder; `encode` looks at what is in the list."""
    if texts is None:
        return [] if encoder is None else item_texts(ds)
    if encoder is None or not isinstance(texts, list | tuple) or len(texts) != len(ds.items):
        raise (ConfigError if encoder is None else DataError)(
            "there must be one text for each item, and an encoder to read them",
            where="from_split(texts)",
            found="encoder=None" if encoder is None else f"{type(texts).__name__}: {texts!r}"[:100],
            expected=f"an encoder, and a list of {len(ds.items)} texts in the order of ds.items",
            remedy="for example texts=klm_utils.knowledge.templates.item_texts(ds)",
        )
    return list(texts)


def check_home(folder) -> None:
    """Refuse what is no folder for a model, or already one of a model of another library."""
    check_kind("save_pretrained(save_directory)", folder, (str, PathLike), "the name of a folder")
    folder = Path(folder).expanduser()
    if (folder / "README.md").is_dir():  # or the new model would lie beside no card, or an old one
        raise CheckpointError(
            "there is a folder where the model card goes",
            where=str(folder / "README.md"),
            found="a folder",
            expected="a file, or nothing",
            remedy="move it away, or choose another folder",
        )
    weights = folder / "model.safetensors"
    foreign = weights.is_file() and "format" not in files.description(weights)
    if foreign or (folder / "config.json").exists():  # the hub's own code would delete it
        raise CheckpointError(
            "this folder holds a model of another kind",
            where=str(folder),
            found=weights.name if foreign else "config.json",
            expected="an empty folder, or one with a KLMRecommender",
            remedy="choose another folder",
        )


def check_build(split, encoder, fusion, mode, tuning, knowledge, profile, settings) -> None:
    """Refuse what `from_split` can make no sense of."""
    check_kind("from_split(split)", split, Split, "a Split", "klm.split(ds, ...)")
    check_choice("fusion", fusion, tuple(FUSIONS))
    modes.options(mode, tuning)
    check_choice("knowledge", knowledge, KINDS if mode == "frozen" else READABLE)
    check_choice("profile", profile, PROFILES)
    if encoder is not None and not hasattr(type(encoder), "fingerprint"):  # of the instance it costs a hash
        raise ConfigError(
            "this is no text encoder",
            where="from_split(encoder)",
            found=encoder,
            expected="a TextEncoder, or None for no text",
            remedy="klm.TextEncoder.from_pretrained('minilm')",
        )
    if encoder is None and mode != "frozen":
        raise ConfigError(
            "there is no language model to train",
            where="from_split(mode)",
            found=f"mode={mode!r} with encoder=None",
            expected="a TextEncoder",
            remedy='pass encoder=..., or mode="frozen"',
        )
    if encoder is None and profile != "features":
        raise ConfigError(
            "a profile as text needs an encoder",
            where="from_split(profile)",
            found=f"profile={profile!r} with encoder=None",
            expected="a TextEncoder",
            remedy='pass encoder=..., or profile="features"',
        )
    for name in settings:
        check_choice("setting", name, tuple(settings_of(fusion)))
    if encoder is None and settings.get("start") == "text":
        raise ConfigError(
            "ids cannot start at texts without an encoder",
            where="from_split(start)",
            found="start='text' with encoder=None",
            expected="a TextEncoder",
            remedy='pass encoder=..., or start="random"',
        )
