"""Methods of :class:`rustgrad.Tensor` that are made of other methods.

They are attached to the class of the extension module when the package is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, SupportsIndex

from . import _C
from ._C import Tensor
from .utils.hooks import RemovableHandle

_LEGACY_TYPES = {
    _C.float32: "FloatTensor",
    _C.float64: "DoubleTensor",
    _C.float16: "HalfTensor",
    _C.bfloat16: "BFloat16Tensor",
    _C.int64: "LongTensor",
    _C.int32: "IntTensor",
    _C.int16: "ShortTensor",
    _C.int8: "CharTensor",
    _C.uint8: "ByteTensor",
    _C.bool: "BoolTensor",
}


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Attaches a function to the class under its own name."""
    function.__qualname__ = f"Tensor.{function.__name__}"
    setattr(Tensor, function.__name__, function)
    return function


def _attribute(function: Callable[..., Any]) -> Callable[..., Any]:
    """Attaches a function to the class as a read-only attribute."""
    setattr(Tensor, function.__name__, property(function))
    return function


# Types and devices.


@_method
def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor in another type or on another device: itself where nothing changes.

    ``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``; ``copy=True`` always
    copies. Gradients flow through it.

    >>> import rustgrad as rg
    >>> rg.tensor([1.5, 2.5]).to(rg.int64)
    tensor([1, 2])
    """
    dtype = kwargs.pop("dtype", None)
    device = kwargs.pop("device", None)
    copy = kwargs.pop("copy", False)
    other = kwargs.pop("other", None)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    names = ["non_blocking", "copy"]
    for arg in args:
        if isinstance(arg, Tensor):
            other = arg
        elif isinstance(arg, _C.dtype) or arg in (float, int, bool):
            dtype = arg
        elif isinstance(arg, bool):
            if names.pop(0) == "copy":
                copy = arg
        elif arg is not None:
            device = arg
    if other is not None:
        dtype, device = other.dtype, other.device
    return _C.to(self, dtype, device, bool(copy))


def _converter(name: str, dtype: Any) -> None:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        return _C.to(self, dtype, None, False)

    convert.__name__ = name
    convert.__doc__ = f"The tensor as {dtype!r}: itself if it is that already."
    _method(convert)


for _name, _dtype in {
    "float": _C.float32,
    "double": _C.float64,
    "half": _C.float16,
    "bfloat16": _C.bfloat16,
    "long": _C.int64,
    "int": _C.int32,
    "short": _C.int16,
    "char": _C.int8,
    "byte": _C.uint8,
    "bool": _C.bool,
}.items():
    _converter(_name, _dtype)


@_method
def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor on the CPU: itself, unless it has no elements to copy (meta)."""
    return _C.to(self, None, "cpu", False)


@_method
def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """Raises: there is no CUDA here."""
    raise RuntimeError("CUDA is not available: rustgrad computes on the CPU")


@_method
def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The legacy name of the type (``'torch.FloatTensor'``), or the tensor in another type."""
    if dtype is None:
        return f"torch.{_LEGACY_TYPES[self.dtype]}"
    if isinstance(dtype, str):
        name = dtype.rsplit(".", 1)[-1]
        for candidate, legacy in _LEGACY_TYPES.items():
            if name in (legacy, str(candidate).rsplit(".", 1)[-1]):
                return _C.to(self, candidate, None, False)
        raise ValueError(f"invalid type: '{dtype}'")
    return _C.to(self, getattr(dtype, "_dtype", dtype), None, False)


@_method
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the type of ``other``."""
    return _C.to(self, other.dtype, None, False)


@_method
def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: there is no device that copies from pinned memory."""
    return self


@_method
def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Always false."""
    return False


@_method
def is_shared(self: Tensor) -> bool:
    """Always false: elements live in the memory of one process."""
    return False


@_method
def share_memory_(self: Tensor) -> Tensor:
    """Raises: elements cannot be moved to memory that processes share."""
    raise NotImplementedError("share_memory_() is not available: pass arrays between processes")


# New tensors.


@_method
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor from ``data``, of this tensor's type unless told otherwise."""
    return _C.tensor(
        data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


@_method
def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """PyTorch's legacy constructor: sizes, or data, in this tensor's type."""
    return _C.to(Tensor(*args, device=device or self.device), self.dtype, None, False)


# Attributes.


@_attribute
def T(self: Tensor) -> Tensor:
    """The tensor with its dimensions reversed."""
    return self.permute(*reversed(range(self.dim())))


@_attribute
def H(self: Tensor) -> Tensor:
    """The transpose of a matrix."""
    if self.dim() not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self.dim()}-D tensor."
        )
    return self.transpose(0, 1) if self.dim() == 2 else self


@_attribute
def mT(self: Tensor) -> Tensor:
    """The tensor with its last two dimensions swapped."""
    if self.dim() < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{self.dim()}-D tensor."
        )
    return self.transpose(-2, -1)


setattr(Tensor, "mH", Tensor.mT)  # noqa: B010


@_attribute
def real(self: Tensor) -> Tensor:
    """The tensor itself: its numbers are real."""
    return self


@_attribute
def layout(self: Tensor) -> Any:
    """Always ``rustgrad.strided``."""
    from rustgrad import strided

    return strided


@_attribute
def name(self: Tensor) -> None:
    """Always ``None``: tensors are not named."""


@_attribute
def is_cpu(self: Tensor) -> bool:
    """Whether the tensor lives on the CPU."""
    return self.device.type == "cpu"


@_method
def is_nonzero(self: Tensor) -> bool:
    """Whether the one element is not zero."""
    return _C.Tensor.__bool__(self)


@_method
def is_same_size(self: Tensor, other: Tensor) -> bool:
    """Whether the other tensor has the same shape."""
    return self.shape == other.shape


# Forms of ops that exist as functions only, and compositions.


@_method
def where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """``rustgrad.where(condition, self, other)``.

    >>> import rustgrad as rg
    >>> x = rg.tensor([1.0, -2.0])
    >>> x.where(x > 0, 0.0)
    tensor([1., 0.])
    """
    return _C.where(condition, self, other)


@_method
def hardshrink(self: Tensor, lambd: float = 0.5) -> Tensor:
    """:func:`rustgrad.nn.functional.hardshrink`."""
    from rustgrad.nn.functional import hardshrink

    return hardshrink(self, lambd)


@_method
def prelu(self: Tensor, weight: Tensor) -> Tensor:
    """:func:`rustgrad.nn.functional.prelu`."""
    from rustgrad.nn.functional import prelu

    return prelu(self, weight)


@_method
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Sums over what broadcasting from ``size`` to this shape has repeated.

    >>> import rustgrad as rg
    >>> rg.ones(2, 3).sum_to_size(1, 3)
    tensor([[2., 2., 2.]])
    """
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    extra = self.dim() - len(shape)
    kept = self.shape[max(extra, 0) :]
    if extra < 0 or any(s not in (1, k) for s, k in zip(shape, kept, strict=True)):
        raise RuntimeError(f"size {shape} is not expandable to size {tuple(self.shape)}.")
    shrunk = [extra + i for i, (s, k) in enumerate(zip(shape, kept, strict=True)) if s != k]
    dims = [*range(extra), *shrunk]
    return self.sum(dims).reshape(shape) if dims else self


@_method
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Writes a number on the diagonal of a matrix, or of a cube of any dimension.

    Args:
        fill_value: the number.
        wrap: begin anew below the square at the top of a tall matrix.

    >>> import rustgrad as rg
    >>> rg.zeros(2, 2).fill_diagonal_(3)
    tensor([[3., 0.],
            [0., 3.]])
    """
    if self.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.dim() > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    n = min(self.shape)
    start, step = self.storage_offset(), sum(self.stride())
    self.as_strided((n,), (step,), start).fill_(fill_value)
    if wrap and self.dim() == 2:
        # One row is left out between a square and the next.
        rows, columns = self.shape
        for top in range(columns + 1, rows, columns + 1):
            self[top:].fill_diagonal_(fill_value)
    return self


# Changes of shape in place: the same object over the same elements, with another history.


def _reshaper(name: str) -> None:
    view = getattr(Tensor, name)

    def reshape_(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if _C.is_grad_enabled() and self.requires_grad and self.is_leaf:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation. Wrap "
                f"{name}_() in no_grad(), or use {name}()"
            )
        _C._replace(self, view(self, *args, **kwargs))
        return self

    functools.update_wrapper(reshape_, view)
    reshape_.__name__ = f"{name}_"
    reshape_.__doc__ = f"In-place form of :meth:`{name}`: changes the shape of this object."
    _method(reshape_)


for _name in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t"):
    if hasattr(Tensor, _name):
        _reshaper(_name)


@_method
def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Changes the shape; elements beyond the old ones are arbitrary."""
    if self.requires_grad:
        raise RuntimeError(
            f"cannot resize variables that require grad: the shape is {list(self.shape)}. Use "
            "reshape(), or take detach() first"
        )
    shape = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    if shape == tuple(self.shape):
        return self
    fresh = _C.empty(shape, dtype=self.dtype, device=self.device)
    n = min(fresh.numel(), self.numel())
    if n:
        fresh.view(-1)[:n].copy_(self.reshape(-1)[:n])
    _C._replace(self, fresh)
    return self


@_method
def resize_as_(self: Tensor, other: Tensor, memory_format: Any = None) -> Tensor:
    """Changes the shape to that of ``other``."""
    return self.resize_(other.shape)


# Writes in place.


@_method
def fill_(self: Tensor, value: Any) -> Tensor:
    """Writes one number (or the element of a 0-d tensor) everywhere."""
    if isinstance(value, Tensor) and value.dim() > 0:
        raise RuntimeError(
            "fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value.dim()} dimensions."
        )
    _C._fill(self, value)
    return self


@_method
def zero_(self: Tensor) -> Tensor:
    """Writes zeros."""
    _C._fill(self)
    return self


@_method
def apply_(self: Tensor, function: Callable[[Any], Any]) -> Tensor:
    """Writes ``function(x)`` for each element ``x``: slow, one Python call an element."""
    flat = _C.tensor([function(x) for x in self.reshape(-1).tolist()], dtype=self.dtype)
    return self.copy_(flat.reshape(self.shape))


# Hooks.


@_method
def register_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Calls ``hook(grad)`` whenever the gradient of this tensor is computed.

    What the hook returns, unless ``None``, takes the place of the gradient, for ``.grad`` and for
    all that is computed from it. Hooks run in the order of registration. When the tensor is written
    in place later, its hooks stay with the value that it had.

    Args:
        hook: takes a tensor, which it must not write in place; returns one of the same shape and
            type, or ``None``.

    Returns:
        A handle with ``remove()``, usable as a context manager.

    Raises:
        RuntimeError: the tensor requires no gradient.

    >>> import rustgrad as rg
    >>> x = rg.tensor([1.0, 2.0], requires_grad=True)
    >>> with x.register_hook(lambda grad: 2 * grad):
    ...     x.sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    return _C.register_tensor_hook(self, hook)


@_method
def register_post_accumulate_grad_hook(
    self: Tensor, hook: Callable[[Tensor], None]
) -> RemovableHandle:
    """Calls ``hook(leaf)`` whenever a backward has added to ``.grad`` of this leaf.

    A step of an optimiser in here lets a gradient go before the next one is computed.

    Args:
        hook: takes this tensor; returns nothing.

    Returns:
        A handle with ``remove()``, usable as a context manager.

    Raises:
        RuntimeError: this is not a leaf, or requires no gradient.

    >>> import rustgrad as rg
    >>> w = rg.nn.Parameter(rg.tensor([1.0]))
    >>> optimizer = rg.optim.SGD([w], lr=0.1)
    >>> def step(parameter):
    ...     optimizer.step()
    ...     parameter.grad = None
    >>> handle = w.register_post_accumulate_grad_hook(step)
    >>> (3 * w).sum().backward()
    >>> w
    Parameter containing:
    tensor([0.7000], requires_grad=True)
    """
    return _C.register_accumulate_hook(self, hook)


# Python's protocols.


@_method
def __reversed__(self: Tensor) -> Tensor:
    """The tensor with its first dimension flipped."""
    return self if self.dim() == 0 else self.flip(0)


def _rebuild(data: Any, dtype: Any, shape: tuple, requires_grad: bool) -> Tensor:
    """A tensor from the bytes of its elements in row-major order."""
    t = _C.empty(shape, dtype=dtype)
    if t.numel():
        t.view(-1).copy_(_C.frombuffer(data, dtype=dtype))
    return t.requires_grad_(requires_grad)


def _rebuild_subclass(cls: Any, t: Tensor, requires_grad: bool, state: dict | None) -> Tensor:
    self = Tensor._make_subclass(cls, t, requires_grad)
    if state:
        self.__dict__.update(state)
    return self


@_method
def __reduce_ex__(self: Tensor, protocol: SupportsIndex) -> tuple:
    """Pickles the elements, the type, the shape and whether it requires grad."""
    if not self.is_leaf:
        raise RuntimeError(
            "only leaf tensors can be pickled: the history is not. Pickle detach() of this one"
        )
    plain = self.detach().contiguous()
    # bfloat16 has no buffer format: its bytes travel as int16.
    data = _C._to_bytes(plain)
    state = getattr(self, "__dict__", None)
    if self.__class__ is Tensor:
        return (_rebuild, (data, self.dtype, tuple(self.shape), self.requires_grad))
    t = plain.clone()
    return (_rebuild_subclass, (self.__class__, t, self.requires_grad, state))


# NumPy's operators must not take a tensor apart when it stands on their right.
setattr(Tensor, "__array_priority__", 1000)  # noqa: B010


# DLPack: NumPy speaks it for arrays over the same memory.


@_method
def __dlpack__(self: Tensor, **kwargs: Any) -> Any:
    """The elements as a DLPack capsule, without copying: for ``from_dlpack`` of other libraries.

    Args:
        kwargs: what the consumer asks for (``stream``, ``max_version``, ``dl_device``, ``copy``),
            as in NumPy's ``ndarray.__dlpack__``.

    Raises:
        BufferError: the tensor requires grad; export ``detach()``.
        TypeError: NumPy has no such element type (bfloat16).

    >>> import numpy as np, rustgrad as rg
    >>> np.from_dlpack(rg.tensor([1., 2.]))
    array([1., 2.], dtype=float32)
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    return self.numpy().__dlpack__(**kwargs)


@_method
def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    """The kind of device and its number in DLPack's terms: the CPU.

    >>> import rustgrad as rg
    >>> rg.ones(2).__dlpack_device__()
    (1, 0)
    """
    return (1, 0)
