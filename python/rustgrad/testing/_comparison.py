"""Whether two values are close, and what to say if they are not."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rustgrad import _C

# Relative and absolute.
_TOLERANCES = {
    _C.float16: (1e-3, 1e-5),
    _C.bfloat16: (1.6e-2, 1e-5),
    _C.float32: (1.3e-6, 1e-5),
    _C.float64: (1e-7, 1e-7),
}
_NUMBERS = {int: _C.int64, float: _C.float64}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Asserts that values are close: ``|actual - expected| <= atol + rtol * |expected|``.

    Compares tensors, what :func:`rustgrad.as_tensor` makes tensors of (NumPy arrays), numbers,
    ``None``, and sequences and mappings of them, whose types need not agree. Infinities must be
    equal. Of tensors without elements (on ``meta``) only the attributes are compared.

    Args:
        actual: what there is.
        expected: what there should be.
        allow_subclasses: a tensor may be compared with one of a class that derives from its own.
        rtol, atol: both or none. The default depends on the type, and is the larger where two
            differ: 1.3e-6 and 1e-5 for float32, 1e-7 and 1e-7 for float64 and Python's floats, 1e-3
            and 1e-5 for float16, 1.6e-2 and 1e-5 for bfloat16, zero for all others.
        equal_nan: NaN is close to NaN.
        check_device: devices must agree.
        check_dtype: types must agree; otherwise values are compared in the promoted type.
        check_layout: accepted; all tensors are strided.
        check_stride: strides must agree.
        msg: what the error says instead, or a function of what it would say.

    Raises:
        AssertionError: says how many elements differ, by how much at most, and where.
        TypeError: the values are of kinds that cannot be compared.
        ValueError: only one of ``rtol`` and ``atol`` was given.

    >>> import rustgrad as rg
    >>> rg.testing.assert_close(rg.ones(2) / 3 * 3, rg.ones(2))
    >>> rg.testing.assert_close({"a": [1.0, 2.0]}, {"a": (1.0, 2.5)})
    Traceback (most recent call last):
        ...
    AssertionError: Scalars are not close!
    <BLANKLINE>
    Expected 2.5 but got 2.0.
    Absolute difference: 0.5 (up to 1e-07 allowed)
    Relative difference: 0.2 (up to 1e-07 allowed)
    <BLANKLINE>
    The failure occurred for item ['a'][1]
    """
    __tracebackhide__ = True
    if (rtol is None) != (atol is None):
        raise ValueError(
            "Both 'rtol' and 'atol' must be either specified or omitted, but got no "
            f"{'rtol' if rtol is None else 'atol'}."
        )
    try:
        # What cannot be compared is found before values are looked at.
        for a, e, item in list(_pairs(actual, expected, (), allow_subclasses)):
            if a is None or e is None or isinstance(a, bool):
                if a is not e:
                    kind = "Booleans" if isinstance(a, bool) and e is not None else "None"
                    raise _Mismatch(f"{kind} mismatch: {a} is not {e}", item)
            elif _C.is_tensor(a):
                attributes = {
                    "stride()": check_stride and (a.stride(), e.stride()),
                    "device": check_device and (a.device, e.device),
                    "dtype": check_dtype and (a.dtype, e.dtype),
                }
                _compare_attributes(a, e, attributes, item)
                if not (a.is_meta or e.is_meta):
                    limits = _limits((a.dtype, e.dtype), rtol, atol)
                    _compare_tensors(a, e, *limits, equal_nan, item)
            else:
                if check_dtype and type(a) is not type(e):
                    raise _Mismatch(f"The (d)types do not match: {type(a)} != {type(e)}.", item)
                limits = _limits((_NUMBERS[type(a)], _NUMBERS[type(e)]), rtol, atol)
                _compare_numbers(a, e, *limits, equal_nan, item)
    except _Mismatch as error:
        text = str(error)
    else:
        return
    # Outside of the handler: the error has no context, and its traceback ends here.
    raise AssertionError(text if msg is None else msg(text) if callable(msg) else msg)


class _Mismatch(Exception):
    def __init__(self, text: str, item: tuple) -> None:
        where = "".join(f"[{key!r}]" for key in item)
        super().__init__(f"{text}\n\nThe failure occurred for item {where}" if item else text)


def _pairs(
    actual: Any, expected: Any, item: tuple, allow_subclasses: bool
) -> Iterator[tuple[Any, Any, tuple]]:
    """What is to be compared with what: ``None``, bools, numbers, or tensors."""
    both = (actual, expected)
    if all(isinstance(x, Sequence) and not isinstance(x, (str, bytes)) for x in both):
        if len(actual) != len(expected):
            raise _Mismatch(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", item
            )
        for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
            yield from _pairs(a, e, (*item, k), allow_subclasses)
    elif all(isinstance(x, Mapping) for x in both):
        if actual.keys() != expected.keys():
            raise _Mismatch(
                "The keys of the mappings do not match:\nMissing keys in the actual mapping: "
                f"{_sorted(expected.keys() - actual.keys())}\nAdditional keys in the actual "
                f"mapping: {_sorted(actual.keys() - expected.keys())}",
                item,
            )
        for k in _sorted(actual.keys()):
            yield from _pairs(actual[k], expected[k], (*item, k), allow_subclasses)
    elif actual is not None and expected is not None:
        yield (*_values(actual, expected, item, allow_subclasses), item)
    else:
        yield actual, expected, item


def _sorted(keys: Any) -> list:
    try:
        return sorted(keys)
    except TypeError:
        return list(keys)


def _values(a: Any, e: Any, item: tuple, allow_subclasses: bool) -> tuple[Any, Any]:
    """Two bools, two numbers, or two tensors."""
    plain = [_plain(x) for x in (a, e)]
    for kinds in ((bool,), tuple(_NUMBERS)):
        if all(type(x) in kinds for x in plain):
            return plain[0], plain[1]
    related = isinstance(a, type(e)) or isinstance(e, type(a))
    if related and (allow_subclasses or type(a) is type(e)):
        try:
            return tuple(x if _C.is_tensor(x) else _C.as_tensor(x) for x in (a, e))  # type: ignore
        except Exception:
            pass  # Nothing that a tensor can be made of: said below.
    where = f" at item {''.join(f'[{k!r}]' for k in item)}" if item else ""
    raise TypeError(
        f"No comparison pair was able to handle inputs of type {type(a)} and {type(e)}{where}."
    )


def _plain(x: Any) -> Any:
    """Python's number for NumPy's; NumPy need not be there."""
    numpy = sys.modules.get("numpy")
    return x.item() if numpy is not None and isinstance(x, numpy.generic) else x


def _limits(dtypes: tuple, rtol: float | None, atol: float | None) -> tuple[float, float]:
    if rtol is not None and atol is not None:
        return rtol, atol
    rtols, atols = zip(*(_TOLERANCES.get(d, (0.0, 0.0)) for d in dtypes), strict=True)
    return max(rtols), max(atols)


def _compare_attributes(a: Any, e: Any, attributes: dict, item: tuple) -> None:
    for name, pair in {"shape": (a.shape, e.shape), **attributes}.items():
        if pair and pair[0] != pair[1]:
            raise _Mismatch(
                f"The values for attribute '{name}' do not match: {pair[0]} != {pair[1]}.", item
            )


def _compare_numbers(
    a: float, e: float, rtol: float, atol: float, equal_nan: bool, item: tuple
) -> None:
    if a == e or (equal_nan and math.isnan(a) and math.isnan(e)):
        return
    if not (math.isfinite(a - e) and abs(a - e) <= atol + rtol * abs(e)):
        raise _numbers_differ(a, e, rtol, atol, item)


def _numbers_differ(a: float, e: float, rtol: float, atol: float, item: tuple) -> _Mismatch:
    difference = abs(a - e)
    text = _describe(
        "Scalars",
        f"Expected {e} but got {a}.",
        ("Absolute difference", difference, "", atol),
        ("Relative difference", difference / abs(e) if e else math.inf, "", rtol),
        rtol == atol == 0,
    )
    return _Mismatch(text, item)


def _compare_tensors(
    a: Any, e: Any, rtol: float, atol: float, equal_nan: bool, item: tuple
) -> None:
    a, e = a.detach(), e.detach()
    if a.dtype != e.dtype:
        dtype = _C.promote_types(a.dtype, e.dtype)
        a, e = a.to(dtype), e.to(dtype)
    if not a.is_floating_point():
        # Differences must not wrap around.
        a, e = a.to(_C.int64), e.to(_C.int64)
    matches = _C.isclose(a, e, rtol, atol, equal_nan)
    if matches.all():
        return
    if not a.dim():
        raise _numbers_differ(a.item(), e.item(), rtol, atol, item)
    count, wrong = matches.numel(), int((~matches).sum())
    absolute = (a - e).abs().masked_fill(matches, 0)
    relative = (absolute / e.abs()).masked_fill(matches, 0)
    raise _Mismatch(
        _describe(
            "Tensor-likes",
            f"Mismatched elements: {wrong} / {count} ({wrong / count:.1%})",
            ("Greatest absolute difference", *_greatest(absolute), atol),
            ("Greatest relative difference", *_greatest(relative), rtol),
            rtol == atol == 0,
        ),
        item,
    )


def _greatest(differences: Any) -> tuple[float, str]:
    flat = differences.reshape(-1)
    at = int(flat.argmax())
    index, rest = [], at
    for size in reversed(differences.shape):
        rest, k = divmod(rest, size)
        index.append(k)
    return flat[at].item(), f" at index {tuple(index[::-1])}"


def _describe(what: str, head: str, absolute: tuple, relative: tuple, equal: bool) -> str:
    lines = [f"{what} are not {'equal' if equal else 'close'}!", "", head]
    for name, value, where, limit in (absolute, relative):
        lines.append(f"{name}: {value}{where}" + ("" if equal else f" (up to {limit} allowed)"))
    return "\n".join(lines)
