"""The model and the loop that trains it (notebook 05)."""

from klm_utils.lazy import modules

__getattr__, __dir__ = modules(__name__)
