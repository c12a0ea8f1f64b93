"""Data sets, their splits, and what is made of them: texts, side features, controls."""

from difflib import get_close_matches
from importlib import import_module
from inspect import signature

from klm_utils.errors import ConfigError, check_options
from klm_utils.lazy import modules

_LOADERS = {"movielens-100k": "movielens", "shop": "shop", "article": "article"}


def load_dataset(name: str, **options):
    """The RecDataset of that name; `options` go to its loader.

    Raises:
        ConfigError: no data set has this name; its loader has no such option.
        AssetError: the data set is not in the cache and cannot be fetched.
    """
    if not isinstance(name, str) or name not in _LOADERS:
        near = get_close_matches(str(name).lower(), _LOADERS, n=1)
        raise ConfigError(
            "there is no data set of this name",
            where="load_dataset(name)",
            found=name,
            expected=" or ".join(map(repr, _LOADERS)),
            remedy=f"did you mean {near[0]!r}?" if near else "for your own tables use klm.RecDataset.from_frames",
        )
    load = import_module(f"klm_utils.data.{_LOADERS[name]}").load
    check_options(f"load_dataset({name!r})", options, signature(load).parameters)
    return load(**options)


__getattr__, __dir__ = modules(__name__)
