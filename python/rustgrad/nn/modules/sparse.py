"""Tables of vectors that are looked up by number."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .. import functional as F, init
from ..parameter import Parameter
from .module import Module

__all__ = ["Embedding"]


class Embedding(Module):
    """Looks up rows of a trained table.

    Shapes: input (*) of int64 or int32, output (*, embedding_dim).

    Args:
        num_embeddings: number of rows.
        embedding_dim: size of each row.
        padding_idx: this row starts as zeros and gets no gradient; counts from the end if
            negative.
        max_norm: rows that are looked up are first shrunk, in place, to this norm.
        norm_type: the p of that norm. Default: ``2.0``.
        scale_grad_by_freq: divide the gradient of a row by how often it is looked up.
        sparse: not supported.
        device: where the table lives.
        dtype: its type.

    Attributes:
        weight: shape (num_embeddings, embedding_dim), drawn from N(0, 1).

    Raises:
        ValueError: ``padding_idx`` is outside the table, or an option is not supported.

    Example:
        >>> import rustgrad as rg
        >>> rg.nn.Embedding(10, 3)(rg.tensor([[1, 2], [4, 0]])).shape == (2, 2, 3)
        True
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: rg.Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        F._refuse_sparse("Embedding", sparse)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"[Embedding] padding_idx must be within num_embeddings: {padding_idx} is "
                    f"outside a table of {num_embeddings} rows"
                )
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        shape = (num_embeddings, embedding_dim)
        if _weight is None:
            weight = rg.empty(shape, device=device, dtype=dtype)
            self.weight = Parameter(weight, requires_grad=not _freeze)
            self.reset_parameters()
        else:
            if tuple(_weight.shape) != shape:
                raise ValueError(
                    f"[Embedding] a weight of shape {tuple(_weight.shape)} does not match "
                    f"num_embeddings and embedding_dim {shape}"
                )
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draws a new table."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with rg.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: rg.Tensor) -> rg.Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += ", scale_grad_by_freq=True"
        return text

    @classmethod
    def from_pretrained(
        cls,
        embeddings: rg.Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Makes a layer from a given table, whose memory it shares.

        Args:
            embeddings: the table, shape (num_embeddings, embedding_dim).
            freeze: do not train it. Default: ``True``.
            padding_idx: as for the class.
            max_norm: as for the class.
            norm_type: as for the class.
            scale_grad_by_freq: divide the gradient of a row by how often it is looked up.
            sparse: not supported.

        Raises:
            ValueError: ``embeddings`` is not 2-dimensional, or as for the class.
        """
        if embeddings.dim() != 2:
            raise ValueError(
                "[Embedding.from_pretrained] embeddings are expected to be 2-dimensional, but "
                f"have shape {tuple(embeddings.shape)}"
            )
        rows, columns = embeddings.shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )
