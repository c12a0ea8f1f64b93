"""A model to a file and back, and to the hub: what is written, and what of it is believed."""

import re
from inspect import signature
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import HfApi, hf_hub_download
from safetensors import SafetensorError

from klm_utils import files
from klm_utils.data import catalogue
from klm_utils.data.assets import offline
from klm_utils.data.features import SideFeatures
from klm_utils.embedding import modes
from klm_utils.errors import CheckpointError, check_kind, check_options
from klm_utils.fusion import FUSIONS, DotFusion, LayerFusion
from klm_utils.knowledge.vectors import FactVectors
from klm_utils.models import card
from klm_utils.models.item_texts import SETTINGS, call_of

FILE = "model.safetensors"
FORMAT = 4  # 1 had no user_text, 2 kept scale and shift beside the tensors, 3 had no facts
AXES = "fact_axes"  # the tensor of `FactVectors.axes`
LARGEST = 65_536  # units of a layer: a file of some kilobytes must not ask for gigabytes


def save(model, folder: str | PathLike, measured: list) -> None:
    """Write a model, its card and its trained encoder; one process at a time, and what was there is replaced.

    Raises:
        CheckpointError: the folder cannot be written, or holds something else; a model that was there is unharmed.
        ConfigError: no name of a folder.
    """
    check_kind("save_pretrained(folder)", folder, (str, PathLike), "the name of a folder")
    folder = Path(folder).expanduser()
    try:
        _check_home(folder)
        with files.locked_folder(folder):
            _write(model, folder, measured)
    except (OSError, SafetensorError) as fault:
        expected = "a folder that can be written, with room on the disk"
        remedy = "choose another folder or free some room"
        raise CheckpointError("the model cannot be saved here", str(folder), str(fault), expected, remedy) from fault


def _check_home(folder: Path) -> None:
    """Refuse a folder that holds something of this name, or a model of another library."""
    if (folder / "README.md").is_dir():  # or the new model would lie beside no card, or an old one
        what, remedy = "there is a folder where the model card goes", "move it away, or choose another folder"
        raise CheckpointError(what, str(folder / "README.md"), "a folder", "a file, or nothing", remedy)
    weights = folder / FILE
    foreign = weights.is_file() and "format" not in files.description(weights)
    if foreign or (folder / "config.json").exists():  # of a language model, which would seem to be a part of ours
        what, found = "this folder holds a model of another kind", weights.name if foreign else "config.json"
        expected = "an empty folder, or one with a KLMRecommender"
        raise CheckpointError(what, str(folder), found, expected, "choose another folder")


def _write(model, folder: Path, measured: list) -> None:
    if model.texts is not None:
        home = modes.save(model.texts.encoder, folder)
        model.trained = {"folder": home.name, "call": call_of(model.texts.encoder)}
    about = {
        "format": FORMAT,
        "about": model.about,
        "features": model.features.to_dict(),
        "facts": None if model.facts is None else {"columns": model.facts.columns, "facts": model.facts.facts},
        "trained": model.trained,
        "measured": measured,
        "objective": model.objective,
        "unfinished": model.unfinished,
        "item_ids": model.items.index.tolist(),
        "titles": model.items.tolist(),
        "user_ids": model.users.tolist(),
    }
    tensors = {name: value for name, value in model.state_dict().items() if not name.startswith("texts.")}
    tensors |= {} if model.facts is None else {AXES: torch.from_numpy(model.facts.axes)}
    files.write_tensors(folder / FILE, tensors, about)
    model.measured, own = measured, model.trained["folder"] if model.trained else ""
    card.save(folder, model, model.trained if own and (folder / own).is_dir() else None)
    modes.sweep(folder, keep=own)


def place(path: str | PathLike, hub: dict) -> Path:
    """The folder of this name, or of the model of this name in the hub, whose file is then fetched."""
    check_options("from_pretrained", hub, signature(hf_hub_download).parameters)
    folder = Path(path).expanduser()
    if folder.is_absolute() or len(folder.parts) != 2 or folder.parent.is_dir():
        return folder
    try:
        return Path(hf_hub_download(str(path), FILE, **hub | ({"local_files_only": True} if offline() else {}))).parent
    except (OSError, ValueError) as fault:  # the hub's own errors are kinds of these
        what = "there is neither a folder nor a model of the hub of this name"
        expected = "a folder that save_pretrained wrote, or a hub id"
        remedy = "check the spelling; for the hub also the network, and that KLM_OFFLINE is not set"
        raise CheckpointError(what, str(path), str(fault)[:300], expected, remedy) from fault


def push(folder: Path, repo_id: str, private: bool | None, token: str | None, options: dict) -> str:
    """Upload a folder to a repository of the hub, made if it is not there; its address."""
    try:
        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        api.upload_folder(repo_id=repo_id, folder_path=folder, **options)
        return f"{api.endpoint}/{repo_id}"
    except Exception as fault:  # of the hub, of its network library, of the operating system
        found = f"{type(fault).__name__}: {fault}"[:300]
        what, expected, remedy = "the hub did not take the model", "a network, and the right to write", "hf auth login"
        raise CheckpointError(what, f"push_to_hub, {repo_id}", found, expected, remedy) from fault


def load(path: Path) -> tuple[DotFusion | LayerFusion, torch.Tensor, torch.Tensor, FactVectors | None, dict]:
    """The network that `save` wrote, its scale and shift, its vectors of facts, and the rest of what it wrote.

    Raises:
        CheckpointError: no such file, one that was cut short or edited, or one whose content is no model.
    """
    tensors, saved = files.read_tensors(path)
    if saved.get("format") != FORMAT or (saved.get("about") or {}).get("fusion") not in FUSIONS:
        what = "this is not a KLMRecommender that this version can read"
        found = str({key: saved.get(key) for key in ("format", "about", "kind")})[:200]
        expected, remedy = f"format {FORMAT}, a fusion of {', '.join(FUSIONS)}", "use the version that wrote it"
        raise CheckpointError(what, str(path), found, expected, remedy)
    about, state = saved["about"], {name.removeprefix("fusion."): tensor for name, tensor in tensors.items()}
    try:
        scale, shift = state.pop("scale").reshape(()), state.pop("shift").reshape(())
        told = saved["facts"]
        facts = None if told is None else FactVectors(told["columns"], told["facts"], state.pop(AXES).numpy())
        for fault, wrong in _faults(state | {"scale": scale, "shift": shift}, saved, facts):
            if wrong:
                raise ValueError(fault)
        network = FUSIONS[about["fusion"]](catalogue.saved(state), seed=about["seed"], **about["settings"])
        network.load_state_dict(state)
    except files.WRONG as fault:
        raise files.wrong_content(path, fault) from fault
    return network, scale, shift, facts, saved


def _faults(state: dict[str, torch.Tensor], saved: dict, facts: FactVectors | None):
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
    yield "features", len(SideFeatures.from_dict(saved["features"]).names) != state["item_features"].shape[1]
    width = (0, 0) if facts is None else (len(facts.facts), facts.axes.shape[1])
    yield "facts", facts is not None and (facts.axes.shape != width or not np.isfinite(facts.axes).all())
    texts = [about[key] for key in ("data", "protocol", "mode", "knowledge", "profile")] + [saved.get("unfinished", "")]
    yield "about", not all(isinstance(text, str) for text in texts)
    reads = about["reads"]
    yield "reads", set(reads) != {"text", "features", "facts", "profile", "unread"}
    yield "reads", list(facts.columns if facts else ()) != (reads["facts"] or [])
    yield "facts", reads["facts"] is not None and width[1] != state["facts"].shape[1]
    yield "reads", not all(isinstance(name, str) for names in reads.values() for name in names or [])
    encoder = about["encoder"]
    yield "encoder", encoder is not None and not (_is_call(encoder["call"]) and isinstance(encoder["name"], str))
    yield "encoder", encoder is not None and not re.fullmatch("[0-9a-f]{64}", encoder["fingerprint"])
    if trained is not None:  # goes into the code of a model card
        yield "trained", not modes.FOLDER.fullmatch(trained["folder"]) or not _is_call(trained["call"])
    rows = saved.get("measured", [])
    yield "measured", not all(isinstance(r[0], str) and isinstance(r[5], str) and len(r) == 6 for r in rows)
    yield "measured", not all(isinstance(number, float) for row in rows for number in row[1:5])


def _is_call(call: dict) -> bool:
    return set(call) == set(SETTINGS) and all(v is None or type(v) in (str, bool, int) for v in call.values())
