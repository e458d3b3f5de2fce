"""rustgrad: automatic differentiation with a dynamic tape in Rust and PyTorch's names.

>>> import rustgrad as rg
>>> x = rg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _C
from ._C import (
    Generator,
    Tensor,
    __version__,
    as_tensor,
    bfloat16,
    bool,  # noqa: A004
    can_cast,
    default_generator,
    device,
    dtype,
    float16,
    float32,
    float64,
    from_numpy,
    frombuffer,
    get_default_dtype,
    get_rng_state,
    initial_seed,
    int8,
    int16,
    int32,
    int64,
    is_grad_enabled,
    is_inference_mode_enabled,
    is_tensor,
    manual_seed,
    promote_types,
    seed,
    set_default_dtype,
    set_rng_state,
    tensor,
    uint8,
)
from ._return_types import Size

# The ops of the table: `rustgrad.add` and its kin.
globals().update({name: getattr(_C, name) for name in _C._functions})

# Old names of the types.
float = float32
double = float64
half = float16
short = int16
int = int32
long = int64

# The only way a tensor's elements lie here, and the orders that programs ask for by name.
strided = "rustgrad.strided"
contiguous_format = "rustgrad.contiguous_format"
preserve_format = "rustgrad.preserve_format"

e = 2.718281828459045
pi = 3.141592653589793
inf = 1e999
nan = inf - inf
newaxis = None

from . import (  # noqa: E402
    _tensor,
    accelerator,
    autograd,
    cuda,
    func,
    linalg,
    memory,
    nn,
    optim,
)
from ._functions import *  # noqa: E402, F403
from ._numerics import finfo, iinfo  # noqa: E402
from .autograd import (  # noqa: E402
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
)
from .nn.functional import hardshrink, pairwise_distance, prelu, rrelu, rrelu_  # noqa: E402

if TYPE_CHECKING:
    from . import profiler, testing
else:
    from ._lazy import lazily

    __getattr__, __dir__ = lazily(__name__, profiler="profiler", testing="testing")
    del lazily
