"""Which weights of the language model are trained: none, small ones beside it, its last layers, all of it.

"frozen" and "end to end" exclude each other; a mode says which of the two a model is.
"""

import re
import secrets
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from klm_utils.embedding.encoder import TextEncoder
from klm_utils.errors import CheckpointError, ConfigError, check_choice, check_flag, check_kind, check_whole
from klm_utils.files import check_seal, foreign, seal, sealed

FOLDER = re.compile("encoder-[0-9a-f]{12}")  # of a trained encoder, named after its weights
BESIDE = ".klm-tmp-encoder-"
# Each mode and its options. checkpointing: compute the inside of a layer again on the way back, and store less.
MODES: dict[str, dict] = {
    "frozen": {},
    "adapter": {"rank": 8, "checkpointing": False},
    "partial": {"layers": 2, "checkpointing": False},
    "full": {"tokens": False, "checkpointing": False},
}


def options(mode: str, given: dict | None = None) -> dict:
    """The options of a mode, with those given in place of the defaults.

    Raises:
        ConfigError: an unknown mode or option, or a value without meaning.
    """
    check_choice("mode", mode, tuple(MODES))
    check_kind("tuning", given, dict | None, "a dict", f"for example tuning={MODES['adapter']}")
    for name in given or {}:
        check_choice(f"option of mode {mode!r}", name, tuple(MODES[mode]) or ("no option",))
    chosen = MODES[mode] | (given or {})
    for name in ("rank", "layers"):
        if name in chosen:
            chosen[name] = check_whole(name, chosen[name])
    for name in {"tokens", "checkpointing"} & chosen.keys():
        chosen[name] = check_flag(name, chosen[name])
    return chosen


def tuned(encoder: TextEncoder, mode: str, given: dict | None = None, seed: int = 0) -> TextEncoder:
    """A copy of the encoder of whose weights just those that the mode trains want a gradient.

    Args:
        encoder: stays as it is.
        mode:
            "frozen": none.
            "adapter": two thin matrices beside each linear map (LoRA), `rank` wide, of which one starts at zero, so
                that the vectors start as they were. The map's own weights stay.
            "partial": the last `layers` layers.
            "full": all but the table of tokens, which a small text collection would move only in part; with `tokens`
                that too.
        given: options in place of those of `MODES`.
        seed: of the start values of "adapter".

    Raises:
        ConfigError: as `options`; more layers than there are; "adapter" without peft.

    Source: Hu et al. 2022, LoRA, section 4.
    """
    chosen = options(mode, given)
    copy = encoder.copy()
    model = copy.model.requires_grad_(False)
    if mode == "adapter":
        copy.model = model = _with_lora(model, chosen["rank"], seed)
    elif mode == "partial":
        for layer in _last(model, chosen["layers"]):
            layer.requires_grad_(True)
    elif mode == "full":
        table = model.get_input_embeddings().weight
        for weight in model.parameters():
            weight.requires_grad_(weight is not table or chosen["tokens"])
    if chosen.get("checkpointing"):  # its name changed in transformers 5.2x
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return copy


def merged(encoder: TextEncoder) -> TextEncoder:
    """A copy without LoRA's extra matrices, whose products are added to the maps; for other modes just a copy."""
    copy = encoder.copy()
    if hasattr(copy.model, "merge_and_unload"):
        copy.model = copy.model.merge_and_unload()
    return copy


def save(encoder: TextEncoder, folder: Path) -> Path:
    """Write a trained encoder to a folder of its own below `folder`, named after its weights, and seal it.

    It is moved in whole, so that a kill leaves it complete or absent; one that was altered since is replaced.

    Raises:
        CheckpointError: there is a folder of this name that we did not write.
    """
    plain = merged(encoder)
    home = folder / f"encoder-{plain.fingerprint[:12]}"
    if home.exists() and not sealed(home):
        what, found = "there is another folder in the place of the encoder", "one that save_pretrained did not write"
        raise CheckpointError(what, str(home), found, "nothing of this name", "move it away")
    try:
        check_seal(home, CheckpointError)
        return home
    except CheckpointError:
        beside = _beside(folder)
        try:
            plain.model.save_pretrained(beside)
            plain.tokenizer.save_pretrained(beside)
            seal(beside)
            if home.exists():
                clear_away(home)
            beside.rename(home)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return home


def remove(home: Path) -> None:
    """Delete the folder of an encoder; after a kill there is all of it or, under its name, nothing."""
    beside = _beside(home.parent)
    home.rename(beside / home.name)
    shutil.rmtree(beside)


def clear_away(home: Path) -> None:
    """Delete the altered folder of an encoder; with files of the user in it, it stays under another name."""
    if foreign(home):
        home.rename(home.with_name(f"{home.name}-altered-{secrets.token_hex(2)}"))
    else:
        remove(home)


def sweep(folder: Path, keep: str) -> None:
    """Delete the encoders of models that were in this folder before, but `keep`, and what killed writers left.

    For the holder of the folder's lock. Ours are those that are sealed and hold nothing else.
    """
    for old in folder.iterdir():
        if old.name.startswith(BESIDE):
            shutil.rmtree(old, ignore_errors=True)
        elif FOLDER.fullmatch(old.name) and sealed(old) and old.name != keep and not foreign(old):
            remove(old)


def _beside(folder: Path) -> Path:
    """A new folder for what is not complete yet, with the rights that the user's folders get."""
    path = folder / f"{BESIDE}{secrets.token_hex(4)}"
    path.mkdir(parents=True)
    return path


def counts(module: nn.Module) -> tuple[int, int]:
    """How many parameters want a gradient, and how many there are; one that is shared counts once."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in module.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def _last(model: nn.Module, layers: int) -> list[nn.Module]:
    """The last layers of a language model: of its longest list of modules."""
    stack = max((list(m) for m in model.modules() if isinstance(m, nn.ModuleList)), key=len, default=[])
    if layers > len(stack):
        remedy = 'mode="full" trains all of them'
        raise ConfigError("the language model has fewer layers", "layers", layers, f"at most {len(stack)}", remedy)
    return stack[-layers:]


def _with_lora(model: nn.Module, rank: int, seed: int) -> nn.Module:
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as fault:
        what, remedy = "the package peft is missing", "pip install peft, or choose another mode"
        raise ConfigError(what, 'mode="adapter"', str(fault), "peft, which brings LoRA", remedy) from fault
    sizes: dict[str, Any] = {"r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0}
    lora = LoraConfig(task_type=TaskType.FEATURE_EXTRACTION, target_modules="all-linear", **sizes)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name of before
        torch.manual_seed(seed)
        return get_peft_model(model, lora)  # changes the model it is given, which is our copy
