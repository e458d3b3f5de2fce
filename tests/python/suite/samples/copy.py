"""Copies."""

import numpy as np

from ..registry import Sample, op


@op("clone", ref=lambda x: x.copy(), dtypes="any")
def _(make):
    yield Sample(make(3, 4))
    yield Sample(make())
    yield Sample(make(0, 3))


@op("copy_", ref=lambda x, src, **_: np.broadcast_to(src, x.shape), dtypes="any")
def _(make):
    yield Sample(make(3, 4), make(3, 4))
    yield Sample(make(3, 4), make(4))
    yield Sample(make(2, 3), make(), kwargs={"non_blocking": True})
    yield Sample(make(), make())
    yield Sample(make(0, 3), make(3))
