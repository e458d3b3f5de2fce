"""Helpers for training modules."""

from typing import TYPE_CHECKING

from .clip_grad import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from .convert_parameters import parameters_to_vector, vector_to_parameters

if TYPE_CHECKING:
    from .module_summary import summary
else:
    from ..._lazy import lazily

    __getattr__, __dir__ = lazily(__name__, summary="module_summary")

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "summary",
    "vector_to_parameters",
]
