"""A model to a file and back: what is written, and what of it is believed."""

from inspect import signature
from pathlib import Path

import torch
from torch import nn

from klm_utils import files
from klm_utils.data import catalogue
from klm_utils.embedding import modes
from klm_utils.errors import CheckpointError
from klm_utils.fusion import FUSIONS
from klm_utils.models import card

FILE = "model.safetensors"
FORMAT = 3  # 1 had no user_text, 2 kept scale and shift beside the tensors
SETTINGS = ("pooling", "normalize", "max_length", "prefix")  # of an encoder
LARGEST = 65_536  # units of a layer: a file of some kilobytes must not ask for gigabytes


def save(model, folder: Path) -> None:
    """Write a model, its card and its trained encoder; one process at a time, and what was there is replaced."""
    with files.locked_folder(folder):
        if model.texts is not None:
            home = modes.save(model.texts.encoder, folder)
            call = {key: getattr(model.texts.encoder, key) for key in SETTINGS}
            model.trained = {"folder": home.name, "call": call}
        about = {
            "format": FORMAT,
            "about": model.about,
            "trained": model.trained,
            "measured": model.measured,
            "objective": model.objective,
            "unfinished": model.unfinished,
            "item_ids": model.items.index.tolist(),
            "titles": model.items.tolist(),
            "user_ids": model.users.tolist(),
        }
        tensors = {name: value for name, value in model.state_dict().items() if not name.startswith("texts.")}
        files.write_tensors(folder / FILE, tensors, about)
        own = model.trained["folder"] if model.trained else ""
        card.save(folder, model, model.trained if own and (folder / own).is_dir() else None)
        modes.sweep(folder, keep=own)


def load(path: Path) -> tuple[nn.Module, torch.Tensor, torch.Tensor, dict]:
    """The network that `save` wrote, its scale and shift, and the rest of what it wrote.

    Raises:
        CheckpointError: no such file, one that was cut short or edited, or one whose content is no model.
    """
    tensors, saved = files.read_tensors(path)
    if saved.get("format") != FORMAT or (saved.get("about") or {}).get("fusion") not in FUSIONS:
        raise CheckpointError(
            "this is not a KLMRecommender that this version can read",
            where=str(path),
            found=str({key: saved.get(key) for key in ("format", "about", "kind")})[:200],
            expected=f"format {FORMAT}, a fusion of {', '.join(FUSIONS)}",
            remedy="load it with the version of klm_utils that wrote it",
        )
    about, state = saved["about"], {name.removeprefix("fusion."): tensor for name, tensor in tensors.items()}
    try:
        scale, shift = state.pop("scale").reshape(()), state.pop("shift").reshape(())
        for fault, wrong in _faults(state | {"scale": scale, "shift": shift}, saved):
            if wrong:
                raise ValueError(fault)
        network = FUSIONS[about["fusion"]](catalogue.saved(state), seed=about["seed"], **about["settings"])
        network.load_state_dict(state)
    except files.WRONG as fault:
        raise files.wrong_content(path, fault) from fault
    return network, scale, shift, saved


def _faults(state: dict[str, torch.Tensor], saved: dict):
    """(fault, whether it is there) for all that would show later or cost memory."""
    about, trained = saved["about"], saved.get("trained")
    items, users = saved["item_ids"], saved["user_ids"]
    yield "a weight that is no number", any(t.is_floating_point() and not t.isfinite().all() for t in state.values())
    yield "objective", saved["objective"] not in ("label", "interaction")
    yield "ids and titles", not len(set(items)) == len(saved["titles"]) == len(items) == len(state["known_items"])
    yield "user ids", not len(set(users)) == len(users) == len(state["known_users"])
    yield "titles", not all(isinstance(title, str) for title in saved["titles"])
    pairs = state["pairs"]
    yield "pairs", bool(len(pairs)) and not 0 <= int(pairs.min()) <= int(pairs.max()) < len(items) * len(users)
    yield "settings", not set(about["settings"]) <= set(signature(FUSIONS[about["fusion"]]).parameters)
    yield "width", about["settings"]["width"] != state["item_ids"].shape[1]
    largest = max(LARGEST, *(size for tensor in state.values() for size in tensor.shape))
    yield "hidden", about["settings"].get("hidden", 1) > largest
    texts = [about[key] for key in ("data", "protocol", "mode", "knowledge", "profile")] + [saved.get("unfinished", "")]
    yield "about", not all(isinstance(text, str) for text in texts)
    yield "encoder", about["encoder"] is not None and not isinstance(about["encoder"]["name"], str)
    if trained is not None:  # goes into the code of a model card
        yield "trained", not modes.FOLDER.fullmatch(trained["folder"]) or set(trained["call"]) != set(SETTINGS)
        yield "trained", not all(value is None or type(value) in (str, bool, int) for value in trained["call"].values())
    rows = saved.get("measured", [])
    yield "measured", not all(isinstance(r[0], str) and isinstance(r[5], str) and len(r) == 6 for r in rows)
    yield "measured", not all(isinstance(number, float) for row in rows for number in row[1:5])
