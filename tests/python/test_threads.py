"""Threads and instruction sets change no result; fork and threads of the host are safe."""

import hashlib
import os
import subprocess
import sys
import threading

import pytest
import rustgrad as rg

F = rg.nn.functional


def exponential(x):
    squashed = x.sigmoid() + F.silu(x) + F.softplus(x) + F.logsigmoid(x)
    return squashed + x.exp() + x.exp2() + x.expm1() + rg.logaddexp(x, x * x) + x.abs() ** x[0]


def logarithm(x):
    return x.log() + x.log2() + x.log10() + x.log1p() + x.sigmoid().logit()


def trigonometric(x):
    y = x / 10
    return x.sin() + x.cos() + x.tan() + y.asin() + y.acos() + x.atan() + rg.atan2(x, x[0])


def hyperbolic(x):
    return x.sinh() + x.cosh() + x.tanh() + x.asinh() + (x.abs() + 1.1).acosh() + (x / 10).atanh()


PROGRAMS = {
    "pointwise": lambda x: (x * x + 0.5).tanh() * x.exp(),
    "transcendental": lambda x: x.sin() + x.abs().log1p() + x.erf() + F.gelu(x),
    "exponential": lambda x: exponential(x[:40]) + exponential(x[:40].double()),
    "logarithm": lambda x: logarithm(x[:40].abs()) + logarithm(x[:40].abs().double()),
    "trigonometric": lambda x: trigonometric(x[:40]) + trigonometric(x[:40].double()),
    "hyperbolic": lambda x: hyperbolic(x[:40]) + hyperbolic(x[:40].double()),
    "broadcast": lambda x: x + x[0] * x[:, :1],
    "transposed": lambda x: x.t()[:300] + x[:300, :700],
    "copy": lambda x: x.t().contiguous(),
    "cast": lambda x: x.double().sum(0) + x.long().sum(0),
    "sum of all": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(0),
    "sum of columns": lambda x: x.sum(1),
    "long column": lambda x: x.reshape(-1, 7).sum(0),
    "norm": lambda x: x.norm(dim=1) + x.norm(),
    "extrema": lambda x: x.max(1).values + x.argmax(1),
    "softmax": lambda x: F.softmax(x, 1) + F.log_softmax(x, 0),
    "layer norm": lambda x: F.layer_norm(x, (x.shape[1],)),
    "scan": lambda x: x.cumsum(0) + x.cumsum(1),
    "sort": lambda x: x.sort(1).values + x.argsort(0),
    "topk": lambda x: x.topk(5, 1).values,
    "gather": lambda x: x.gather(1, (x.abs() * 100).long() % x.shape[1]),
    "index": lambda x: x[(x[:, 0] > 0).nonzero().squeeze(1)],
    "mask": lambda x: x[x > 0.1],
    "flip": lambda x: x.flip(0, 1),
    "fill": lambda x: rg.full_like(x, 0.3) + rg.arange(x.shape[1]),
    "half": lambda x: (x.half().exp() + x.bfloat16()).sum(0),
    "truths": lambda x: (x > 0).any(1) | (x < 1).all(1),
    "product of all": lambda x: (1 + x / 1e4).prod(0),
    "moments": lambda x: x.var(0) + x.std() + x.mean(),
    "cross-entropy": lambda x: F.cross_entropy(x, x.abs().argmin(1)),
    "running extrema": lambda x: x.cummax(0).values + x.cummin(1).values,
    "running logarithm": lambda x: x[:99].logcumsumexp(1),
    "running product": lambda x: (1 + x / 1e4).cumprod(0),
    "median": lambda x: x.median(0).values + x.kthvalue(7, 0).values,
    "scatter": lambda x: rg.zeros_like(x).scatter_add(1, (x.abs() * 99).long() % x.shape[1], x),
    "index_add": lambda x: x.index_add(0, (x[:, 0].abs() * 100).long() % 9, x),
    "embedding": lambda x: F.embedding((x[:99, :99].abs() * 10).long() % 700, x),
    "place": lambda x: x.index_put(((x[:, 1] > 0).nonzero().squeeze(1),), x[:1], accumulate=True),
    "count": lambda x: rg.bincount((x.abs() * 10).long().flatten()),
    "search": lambda x: rg.searchsorted(x[0].sort().values, x),
    "join": lambda x: rg.cat([x, x.roll(3, 1)], 1).tril() + F.pad(x, (100, 800)),
    "uniform": lambda x: x * rg.rand_like(x) + F.dropout(x, 0.3),
    "draws": lambda x: rg.bernoulli(x.sigmoid()) + rg.randint(0, 9, x.shape),
}
PRODUCTS = {
    "product": lambda x: x @ x.t(),
    "product, transposed": lambda x: x.t() @ x,
    "long sums": lambda x: x[:20].reshape(4, -1) @ x[:20].reshape(4, -1).t(),
    "batched": lambda x: x[:, :64].reshape(-1, 8, 8) @ x[:, :64].reshape(-1, 8, 8).mT,
    "vector": lambda x: x @ x[0],
    "bfloat16": lambda x: (x.bfloat16() @ x.bfloat16().t()).float(),
    "double": lambda x: x.double() @ x.t().double(),
    "integers": lambda x: (x[:99] * 9).long() @ (x[:99] * 9).long().t(),
    "linear": lambda x: F.linear(x, x[:50], x[0, :50]),
    "linear and tanh": lambda x: F.linear(x, x[:50], x[0, :50], "tanh"),
    "einsum": lambda x: rg.einsum("bij,bkj->bik", x.reshape(7, 100, 900), x.reshape(7, 100, 900)),
}


def digest(tensor: rg.Tensor) -> str:
    return hashlib.sha256(bytes(tensor.detach().contiguous().numpy())).hexdigest()


def digests(programs) -> dict[str, str]:
    """Of the results, of gradients, and of random numbers."""
    rg.manual_seed(3)
    x = rg.randn(700, 900)
    found = {"random": digest(x), "permutation": digest(rg.randperm(5000))}
    for name, f in programs.items():
        leaf = x.clone().requires_grad_()
        rg.manual_seed(4)
        y = f(leaf)
        found[name] = digest(y)
        if y.requires_grad:
            (g,) = rg.autograd.grad(y.sum(), leaf)
            found[f"{name}, gradient"] = digest(g)
    return found


@pytest.fixture
def threads():
    before = rg.get_num_threads()
    yield
    rg.set_num_threads(before)


def test_the_number_of_threads_changes_no_bit(threads):
    results = []
    for n in (1, 2, 3):
        rg.set_num_threads(n)
        assert rg.get_num_threads() == n
        results.append(digests(PROGRAMS | PRODUCTS))
    for name, expected in results[0].items():
        assert [r[name] for r in results] == [expected] * 3, name


def test_training_has_the_same_bits(threads):
    results = []
    for n in (1, 2, 3):
        rg.set_num_threads(n)
        rg.manual_seed(0)
        model = rg.nn.Sequential(rg.nn.Linear(200, 300), rg.nn.GELU(), rg.nn.Linear(300, 10))
        optimizer = rg.optim.AdamW(model.parameters(), lr=1e-3)
        x, y = rg.randn(128, 200), rg.randint(0, 10, (128,))
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            rg.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        results.append([digest(p) for p in model.parameters()])
    assert results[0] == results[1] == results[2]


def run_python(program: str, **variables: str) -> str:
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({here!r}); {program}"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_instruction_sets_have_the_same_bits():
    program = "import test_threads as t; print(t.digests(t.PROGRAMS))"
    results = {isa: run_python(program, RUSTGRAD_ISA=isa) for isa in ("base", "avx2", "avx512")}
    assert results["base"] == results["avx2"] == results["avx512"]


def test_the_environment_sets_the_number_of_threads():
    program = "import rustgrad; print(rustgrad.get_num_threads())"
    assert run_python(program, RUSTGRAD_NUM_THREADS="3") == "3\n"
    assert int(run_python(program, RUSTGRAD_NUM_THREADS="nonsense")) >= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_computes_on(threads):
    rg.set_num_threads(3)
    w = rg.randn(300, 300, requires_grad=True)
    (w @ w).sum().backward()
    expected = digest(w @ w)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        w.grad = None
        (w @ w).sum().backward()
        os.write(write, digest(w @ w).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 100).decode() == expected
    assert digest(w @ w) == expected


def test_python_threads_compute_at_the_same_time(threads):
    rg.set_num_threads(3)
    x = rg.randn(500, 500)
    expected = digest(x @ x)
    wrong = []

    def work():
        for _ in range(20):
            leaf = x.clone().requires_grad_()
            y = leaf @ leaf
            y.sum().backward()
            if digest(y) != expected:
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_long_work_lets_other_threads_run():
    done = threading.Event()
    counted = 0

    def count():
        nonlocal counted
        while not done.is_set():
            counted += 1

    worker = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10.0)  # only who gives the lock up lets others run
    try:
        x = rg.randn(800, 800)
        worker.start()
        for _ in range(10):
            x @ x
    finally:
        sys.setswitchinterval(interval)
        done.set()
        worker.join()
    assert counted > 0
