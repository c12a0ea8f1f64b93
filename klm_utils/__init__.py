"""klm_utils: recommenders that use what a pretrained language model knows.

The names below are loaded when first used (PEP 562): importing the package imports nothing heavy.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from klm_utils.lazy import modules
from klm_utils.threads import sleep_while_waiting

if TYPE_CHECKING:  # what type checkers and editors read; a test holds it against _HOME
    from klm_utils import data, embedding, evaluation, fusion, gradients, knowledge, losses, models, plots, training
    from klm_utils.data import load_dataset
    from klm_utils.data.schema import RecDataset
    from klm_utils.data.splits import Split, split
    from klm_utils.embedding.backbones import load_backbone
    from klm_utils.embedding.encoder import TextEncoder
    from klm_utils.errors import AssetError, CheckpointError, ConfigError, DataError, KLMError, LeakError
    from klm_utils.evaluation import metrics
    from klm_utils.evaluation.report import Report, evaluate
    from klm_utils.models import baselines
    from klm_utils.models.average import Average
    from klm_utils.models.recommender import KLMRecommender
    from klm_utils.training.config import TrainConfig
    from klm_utils.training.loop import fit

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
    "metrics": "evaluation",
    "evaluate": "evaluation.report",
    "Report": "evaluation.report",
    "baselines": "models",
    "Average": "models.average",
    "KLMRecommender": "models.recommender",
    "TrainConfig": "training.config",
    "fit": "training.loop",
}
__all__ = [
    "AssetError",
    "Average",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "KLMError",
    "KLMRecommender",
    "LeakError",
]
__all__ += ["RecDataset", "Report", "Split", "TextEncoder", "TrainConfig", "__version__", "evaluate", "fit", "split"]
__all__ += ["baselines", "data", "embedding", "evaluation", "fusion", "gradients", "load_backbone", "load_dataset"]
__all__ += ["knowledge", "losses", "metrics", "models", "plots", "training"]

_module, _names = modules(__name__)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"klm_utils.{_HOME[name]}"), name)
    return _module(name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_names()})
