"""Data sets, their splits, and what is made of them: side features, histories, positions."""

from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from klm_utils.errors import ConfigError, check_options
from klm_utils.lazy import modules

if TYPE_CHECKING:
    from klm_utils.data.schema import RecDataset

_LOADERS = {
    "movielens-100k": ("movielens", "load"),
    "movielens-100k-mislinked": ("movielens", "mislinked"),
    "shop": ("shop", "load"),
    "article": ("article", "load"),
}


def load_dataset(name: str, **options: Any) -> "RecDataset":
    """The RecDataset of that name; `options` go to its loader.

    Raises:
        ConfigError: no data set has this name; its loader has no such option.
        AssetError: the data set is not in the cache and cannot be fetched.
    """
    if not isinstance(name, str) or name not in _LOADERS:
        near = get_close_matches(str(name).lower(), _LOADERS, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "for your own tables use klm.RecDataset.from_frames"
        known = " or ".join(map(repr, _LOADERS))
        raise ConfigError("there is no data set of this name", "load_dataset(name)", name, known, remedy)
    module, function = _LOADERS[name]
    load = getattr(import_module(f"klm_utils.data.{module}"), function)
    check_options(f"load_dataset({name!r})", options, signature(load).parameters)
    return load(**options)


__getattr__, __dir__ = modules(__name__)
