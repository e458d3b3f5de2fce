"""Functions of the package that are not ops: questions, settings, compositions of settings."""

from __future__ import annotations

from typing import Any

from . import _C
from ._C import Tensor
from ._return_types import Size

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "are_deterministic_algorithms_enabled",
    "asarray",
    "broadcast_shapes",
    "detach",
    "einsum",
    "from_dlpack",
    "fill",
    "fill_",
    "get_default_device",
    "get_float32_matmul_precision",
    "get_num_threads",
    "is_complex",
    "is_floating_point",
    "is_inference",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "numel",
    "result_type",
    "set_default_device",
    "set_default_tensor_type",
    "set_float32_matmul_precision",
    "set_num_threads",
    "set_printoptions",
    "tensordot",
    "typename",
    "unique",
    "unique_consecutive",
    "use_deterministic_algorithms",
    "zero_",
]


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of an object that speaks DLPack: a write to either is seen by both.

    Memory that must not be written is copied.

    Args:
        ext_tensor: an array or tensor of another library, on the CPU.

    >>> import numpy as np, rustgrad as rg
    >>> a = np.zeros(3)
    >>> rg.from_dlpack(a).add_(1)
    tensor([1., 1., 1.], dtype=rustgrad.float64)
    >>> a
    array([1., 1., 1.])
    """
    import numpy as np

    return _C.from_numpy(np.from_dlpack(ext_tensor))


def einsum(*args: Any) -> Tensor:
    """The sum of products that an equation describes.

    Each operand's dimensions are named by letters; what the output does not name is summed, and
    what the operands share is multiplied. ``...`` stands for dimensions that broadcast. Without
    ``->`` the output has the letters that appear once, in alphabetical order.

    Args:
        args: the equation and its operands (or one list of them); or each operand followed by the
            list of its subscripts (numbers below 52, or ``...``), and perhaps the output's.

    >>> import rustgrad as rg
    >>> x = rg.tensor([[1., 2.], [3., 4.]])
    >>> rg.einsum('ij,j->i', x, rg.tensor([1., 10.]))
    tensor([21., 43.])
    >>> rg.einsum(x, [0, 0])
    tensor(5.)
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    if isinstance(args[0], Tensor):
        # operand, subscripts, operand, subscripts, ..., and perhaps the output's subscripts
        equation = ",".join(map(_subscripts, args[1::2]))
        if len(args) % 2:
            equation += f"->{_subscripts(args[-1])}"
        return _C.einsum(equation, list(args[:-1:2]))
    return _C.einsum(*args)


def _subscripts(numbers: Any) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    text = ""
    for n in numbers:
        if n is not Ellipsis and not (isinstance(n, int) and 0 <= n < 52):
            raise ValueError(
                "einsum(): expected subscripts to be integers in [0, 52) or Ellipsis, "
                f"but got {n!r}"
            )
        text += "..." if n is Ellipsis else letters[n]
    return text


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """The sum of products over some dimensions of ``a`` and ``b``.

    Args:
        a: the left operand.
        b: the right operand.
        dims: how many: the last ones of ``a`` with the first ones of ``b``; or two lists: those of
            ``a`` with those of ``b``, pair by pair.
        out: a tensor that takes the result.

    Returns:
        A tensor with the other dimensions of ``a``, then those of ``b``.

    >>> import rustgrad as rg
    >>> rg.tensordot(rg.ones(2, 3, 4), rg.ones(3, 4, 5)).shape
    rustgrad.Size([2, 5])
    >>> rg.tensordot(rg.ones(2, 3), rg.ones(4, 3), dims=([1], [1])).shape
    rustgrad.Size([2, 4])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        return _C.tensordot(a, b, dims, out=out)
    over_a, over_b = dims
    return _C.tensordot(a, b, over_a, over_b, out=out)


def is_floating_point(input: Tensor) -> bool:
    """Whether the tensor's type is floating point."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Always false: complex numbers are not supported."""
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element of a tensor is not zero."""
    return bool(input)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def is_signed(input: Tensor) -> bool:
    """Whether the tensor's type has negative numbers."""
    return input.is_signed()


def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return input.is_inference()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return input.shape == other.shape


def detach(input: Tensor) -> Tensor:
    """The same elements without history; see :meth:`Tensor.detach`."""
    return input.detach()


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of the shape and type of ``input`` that is ``value`` everywhere.

    >>> import rustgrad as rg
    >>> rg.fill(rg.zeros(2), 3)
    tensor([3., 3.])
    """
    return input.clone().fill_(value)


def fill_(input: Tensor, value: Any) -> Tensor:
    """Writes ``value`` everywhere; see :meth:`Tensor.fill_`."""
    return input.fill_(value)


def zero_(input: Tensor) -> Tensor:
    """Writes zeros; see :meth:`Tensor.zero_`."""
    return input.zero_()


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to.

    Args:
        shapes: tuples of sizes, or numbers for shapes of one dimension.

    Raises:
        RuntimeError: the shapes do not broadcast.

    >>> import rustgrad as rg
    >>> rg.broadcast_shapes((2, 1), (3,))
    rustgrad.Size([2, 3])
    """
    shapes = tuple((shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes)
    if any(size < 0 for shape in shapes for size in shape):
        raise RuntimeError("Trying to create tensor with negative dimension")
    if not shapes:
        return Size()
    # Tensors without elements to hold.
    tensors = [_C.empty(shape, device="meta") for shape in shapes]
    return _C.broadcast_tensors(*tensors)[0].shape


def typename(obj: Any) -> str:
    """The legacy type name of a tensor, or the qualified name of another object's class."""
    if isinstance(obj, Tensor):
        return obj.type()
    cls = type(obj)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor that shares memory with ``obj`` where possible.

    Args:
        obj: a tensor, array, buffer, number or nested sequence.
        dtype: the element type; the default is that of ``obj``.
        device: where the tensor lives.
        copy: always (``True``), only if needed (``None``), or never (``False``: raises if needed).
        requires_grad: whether the result requires grad.
    """
    t = _C.as_tensor(obj, dtype, device)
    if copy:
        t = t.detach().clone()
    elif copy is False and not _shares(obj, t):
        raise ValueError("can't alias arbitrary sequences or change the type without a copy")
    return t.requires_grad_() if requires_grad else t


def _shares(obj: Any, t: Tensor) -> bool:
    if t is obj:
        return True
    try:
        # Another view of the same buffer starts at the same place.
        return _C.from_numpy(obj).data_ptr() == t.data_ptr()
    except TypeError:
        return False


def result_type(a: Any, b: Any) -> Any:
    """The type in which two operands (tensors or numbers) compute."""
    return _C.result_type(a, b)


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Changes how tensors print.

    Args:
        precision: digits after the point (4 at first).
        threshold: from how many elements on a tensor is summarised (1000).
        edgeitems: how many entries a summary shows at each edge (3).
        linewidth: characters in a line (80).
        profile: ``'default'``, ``'short'`` or ``'full'``; the other arguments change it.
        sci_mode: scientific notation always or never; ``None`` decides by the range.
    """
    if profile is not None:
        profiles = {
            "default": (4, 1000, 3, 80),
            "short": (2, 1000, 2, 80),
            "full": (4, 2**62, 3, 80),
        }
        if profile not in profiles:
            raise ValueError(f"profile must be one of {sorted(profiles)}, not {profile!r}")
        _C.set_print_options(*profiles[profile], None)
    old = _C.print_options()
    if threshold is not None:
        threshold = min(int(min(threshold, 2.0**62)), 2**62)
    _C.set_print_options(
        old[0] if precision is None else int(precision),
        old[1] if threshold is None else int(threshold),
        old[2] if edgeitems is None else int(edgeitems),
        old[3] if linewidth is None else int(linewidth),
        sci_mode,
    )


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: every result is deterministic already."""


def are_deterministic_algorithms_enabled() -> bool:
    """Always true."""
    return True


def get_num_threads() -> int:
    """How many threads share the work of an op.

    At first as many as the process may use, or what the environment variable
    ``RUSTGRAD_NUM_THREADS`` says.
    """
    return _C.get_num_threads()


def set_num_threads(threads: int) -> None:
    """Sets how many threads share the work of an op; results do not depend on it.

    Raises:
        RuntimeError: the number is not positive.
    """
    if threads <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _C.set_num_threads(threads)


def get_float32_matmul_precision() -> str:
    """Always ``'highest'``: products of ``float32`` are computed in ``float32``."""
    return "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted: the lower settings allow less precision, which is not made use of.

    Raises:
        RuntimeError: ``precision`` is none of ``'highest'``, ``'high'``, ``'medium'``.
    """
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"{precision!r} is not one of 'highest', 'high' or 'medium'")


def get_default_device() -> Any:
    """The device on which tensors are made unless told otherwise: the CPU."""
    return _C.device("cpu")


def set_default_tensor_type(t: Any) -> None:
    """Sets the default floating-point type by a legacy type: ``rustgrad.DoubleTensor``."""
    name = t if isinstance(t, str) else t.__name__
    types = {"FloatTensor": _C.float32, "DoubleTensor": _C.float64, "HalfTensor": _C.float16}
    key = name.rsplit(".", 1)[-1]
    if key not in types:
        raise TypeError(f"only floating-point CPU types can be the default, not {name}")
    _C.set_default_dtype(types[key])


def set_default_device(device: Any) -> None:
    """Accepts the CPU (or ``None``), the default and the only device with memory."""
    if device is not None and str(_C.device(device)) != "cpu":
        raise RuntimeError(f"the default device is 'cpu', and {device!r} cannot take its place")


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The unique elements in ascending order, or the unique slices along ``dim``.

    Args:
        input: the tensor.
        sorted: accepted; the result is always in order.
        return_inverse: also return which of the unique elements each element is.
        return_counts: also return how often each occurs.
        dim: compare slices along this dimension instead of elements.

    >>> import rustgrad as rg
    >>> rg.unique(rg.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    return _C.unique_parts(input, dim, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The first element of each run of equal elements, or slice of equal slices along ``dim``.

    Args:
        input: the tensor.
        return_inverse: also return which run each element is in.
        return_counts: also return how long each run is.
        dim: compare slices along this dimension instead of elements.

    >>> import rustgrad as rg
    >>> rg.unique_consecutive(rg.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    return _C.unique_consecutive_parts(input, dim, return_inverse, return_counts)


for _function in (unique, unique_consecutive):
    setattr(Tensor, _function.__name__, _function)


class _Legacy(type):
    """What the old constructors are: ``FloatTensor(data)`` and its kin, one a type."""

    _dtype: Any

    def __call__(cls, *args: Any, device: Any = None) -> Any:
        if len(args) == 1 and not isinstance(args[0], int):
            return _C.tensor(args[0], dtype=cls._dtype, device=device)
        return _C.empty(*(args or (0,)), dtype=cls._dtype, device=device)

    def __instancecheck__(cls, obj: Any) -> bool:
        return isinstance(obj, Tensor) and obj.dtype == cls._dtype


def _legacy(name: str, dtype: Any) -> Any:
    return _Legacy(name, (), {"_dtype": dtype, "__doc__": f"Old constructor of {dtype!r} tensors."})


FloatTensor = _legacy("FloatTensor", _C.float32)
DoubleTensor = _legacy("DoubleTensor", _C.float64)
HalfTensor = _legacy("HalfTensor", _C.float16)
BFloat16Tensor = _legacy("BFloat16Tensor", _C.bfloat16)
LongTensor = _legacy("LongTensor", _C.int64)
IntTensor = _legacy("IntTensor", _C.int32)
ShortTensor = _legacy("ShortTensor", _C.int16)
CharTensor = _legacy("CharTensor", _C.int8)
ByteTensor = _legacy("ByteTensor", _C.uint8)
BoolTensor = _legacy("BoolTensor", _C.bool)
