"""The loop that trains a model, and what it lowers (notebook 05)."""

from klm_utils.lazy import modules

__getattr__, __dir__ = modules(__name__)
