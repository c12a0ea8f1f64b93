"""klm_utils: recommenders that use what a pretrained language model knows.

The names below are loaded when first used (PEP 562): importing the package imports nothing heavy.
"""

import warnings
from importlib import import_module

from klm_utils.lazy import modules
from klm_utils.threads import sleep_while_waiting

__version__ = "0.1.0"

sleep_while_waiting()
warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, in every notebook without widgets

_HOME = {
    "KLMError": "errors",
    "DataError": "errors",
    "LeakError": "errors",
    "AssetError": "errors",
    "ConfigError": "errors",
    "CheckpointError": "errors",
    "load_dataset": "data",
    "RecDataset": "data.schema",
    "split": "data.splits",
    "Split": "data.splits",
    "load_backbone": "embedding.backbones",
    "TextEncoder": "embedding.encoder",
    "evaluate": "evaluation.report",
    "Report": "evaluation.report",
    "KLMRecommender": "models.recommender",
    "TrainConfig": "training.config",
    "fit": "training.loop",
}
_ROOMS = {
    "data": "data",
    "knowledge": "knowledge",
    "embedding": "embedding",
    "fusion": "fusion",
    "losses": "losses",
    "gradients": "gradients",
    "evaluation": "evaluation",
    "metrics": "evaluation.metrics",
    "baselines": "models.baselines",
    "models": "models",
    "training": "training",
    "plots": "plots",
    "course": "course",
}
__all__ = ["__version__", *_HOME, *_ROOMS]


_module, _names = modules(__name__)


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f"klm_utils.{_ROOMS[name]}")
    if name in _HOME:
        return getattr(import_module(f"klm_utils.{_HOME[name]}"), name)
    return _module(name)


def __dir__():
    return sorted({*__all__, *_names()})
