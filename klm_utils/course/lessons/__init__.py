"""What exactly one notebook uses and no module imports."""

from klm_utils.lazy import modules

__getattr__, __dir__ = modules(__name__)
