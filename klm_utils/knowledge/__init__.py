"""What is known of items and users beside their ids: texts made of it, graphs, and controls (notebooks 01, 07)."""

from klm_utils.lazy import modules

__getattr__, __dir__ = modules(__name__)
