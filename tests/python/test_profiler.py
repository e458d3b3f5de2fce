"""Profiles: events, ranges, schedules, tables, traces, memory."""

from __future__ import annotations

import gzip
import json
import threading

import pytest
import rustgrad as rg
from rustgrad.autograd import profiler as old
from rustgrad.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from rustgrad.utils.checkpoint import checkpoint, memory_budget


def names(prof, kind="op"):
    return [e.name for e in prof.events() if e.kind == kind]


def net():
    return rg.nn.Sequential(rg.nn.Linear(4, 8), rg.nn.ReLU(), rg.nn.Linear(8, 1))


def test_ops_of_forward_and_backward():
    x = rg.randn(3, 4, requires_grad=True)
    with profile(record_shapes=True) as prof:
        y = x.exp()
        y.sum().backward()
    assert names(prof)[:2] == ["exp", "sum"]
    assert names(prof, "node") == ["SumBackward0", "ExpBackward0"]
    exp = prof.events()[0]
    assert exp.input_shapes == [[3, 4]] and exp.input_types == ["float32"]
    assert exp.node is None and 0 <= exp.begin <= exp.end
    inner = [e for e in prof.events() if e.kind == "op" and e.node is not None]
    assert inner and all(e.cpu_parent.kind == "node" for e in inner)
    assert all(e.cpu_parent.node == e.node for e in inner)
    assert [e.id for e in prof.events()] == list(range(len(prof.events())))


def test_nothing_is_noted_after_it():
    with profile() as prof:
        rg.ones(1)
    rg.zeros(1)
    assert names(prof) == ["ones"]


def test_lines_are_those_of_the_program():
    x = rg.randn(3, requires_grad=True)
    with profile(with_stack=True) as prof:
        y = x.exp()  # forward
        y.backward(rg.ones(3))  # backward
    source = open(__file__, encoding="utf-8").read().splitlines()

    def line(place):
        file, _, number = place.rpartition(":")
        assert file == __file__
        return source[int(number) - 1]

    exp, node = prof.events()[0], next(e for e in prof.events() if e.kind == "node")
    assert line(exp.line).endswith("# forward") and exp.stack == [exp.line]
    assert node.name == "ExpBackward0"
    assert line(node.line).endswith("# forward") and line(node.call_line).endswith("# backward")
    assert "Source Location" in prof.key_averages().table(max_src_column_width=200)
    assert __file__ in prof.key_averages().table(max_src_column_width=200)


def test_self_times_add_up():
    x = rg.randn(4, 3, requires_grad=True)
    with profile() as prof, record_function("all"):
        x.logsumexp(1).sum().backward()
    (whole,) = (e for e in prof.events() if e.kind == "range")
    assert sum(e.self_cpu_time_total for e in prof.events()) == pytest.approx(whole.cpu_time_total)
    assert all(e.self_cpu_time_total >= 0 for e in prof.events())
    whole_op = next(e for e in prof.events() if e.name == "logsumexp")
    assert whole_op.cpu_children and all(c.cpu_parent is whole_op for c in whole_op.cpu_children)
    averages = prof.key_averages()
    assert averages.self_cpu_time_total == pytest.approx(whole.cpu_time_total)
    assert prof.events().total_average().cpu_time_total == pytest.approx(whole.cpu_time_total)


def test_ranges_nest_and_decorate():
    @record_function("step")
    def step(x, *, deep):
        """Doc."""
        with record_function("inner"):
            x.exp()
        return step(x, deep=False) if deep else x

    with profile() as prof:
        step(rg.ones(2), deep=True)
    assert step.__name__ == "step" and step.__doc__ == "Doc."
    assert names(prof, "range") == ["step", "inner", "step", "inner"]
    by_key = {a.key: a for a in prof.key_averages()}
    outer = next(e for e in prof.events() if e.name == "step")
    # The inner call lies within the outer one.
    assert by_key["step"].count == 2
    assert by_key["step"].cpu_time_total == pytest.approx(outer.cpu_time_total)
    assert by_key["step"].is_user_annotation


def test_ranges_and_exceptions():
    reused = record_function("reused")
    with profile() as prof:
        with pytest.raises(ValueError), reused:
            raise ValueError
        with reused, reused:
            rg.ones(1)
    first, second, third = (e for e in prof.events() if e.kind == "range")
    assert third.cpu_parent is second and first.cpu_parent is None
    assert [c.name for c in third.cpu_children] == ["ones"]
    with record_function("nobody looks"):
        pass


def test_a_range_that_is_open_at_the_end_or_was_before():
    before, after = record_function("before"), record_function("after")
    with before:
        prof = profile()
        prof.start()
    with after:
        rg.ones(1)
        prof.stop()
    assert names(prof, "range") == ["after"]
    assert [c.name for c in prof.events()[0].cpu_children] == ["ones"]


def test_ranges_in_a_custom_backward():
    class Double(rg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            a = g.neg()
            with record_function("inside"):
                b = a.neg()
            return b * 2

    x = rg.ones(3, requires_grad=True)
    with profile() as prof:
        Double.apply(x).sum().backward()
    (inside,) = (e for e in prof.events() if e.kind == "range")
    assert [c.name for c in inside.cpu_children] == ["DoubleBackward"]
    assert names(prof, "node").count("DoubleBackward") == 3
    _check_nesting(prof.events())


def _check_nesting(events):
    for e in events:
        inner = e.cpu_children
        assert all(e.begin <= c.begin <= c.end <= e.end for c in inner), e
        assert all(a.end <= b.begin for a, b in zip(inner, inner[1:], strict=False)), e
        assert all(c.cpu_parent is e for c in inner)


def test_modules():
    model = net()
    with profile(with_modules=True, with_flops=True) as prof:
        model(rg.ones(2, 4)).sum().backward()
    assert names(prof, "module") == ["Sequential", "Sequential.0", "Sequential.1", "Sequential.2"]
    forward = [e for e in prof.events() if e.name == "linear"]
    assert [e.module for e in forward] == ["Sequential.0", "Sequential.2"]
    backward = [e for e in prof.events() if e.name == "mm"]
    assert {e.module for e in backward} == {"Sequential.0", "Sequential.2"}
    loss = next(e for e in prof.events() if e.name == "sum" and e.node is None)
    assert loss.module is None
    _check_nesting(prof.events())
    with profile() as prof:
        model(rg.ones(2, 4))
    assert names(prof, "module") == []


def test_other_threads_are_not_noted():
    model = net()

    def work():
        with record_function("elsewhere"):
            model(rg.ones(2, 4))

    with profile(with_modules=True) as prof:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        rg.ones(1)
    assert [e.name for e in prof.events()] == ["ones"]


def test_steps_of_optimisers_are_ranges():
    p = rg.nn.Parameter(rg.ones(2))
    opt = rg.optim.SGD([p], lr=0.1)

    def fails():
        raise ValueError

    with profile() as prof:
        with pytest.raises(ValueError):
            opt.step(fails)
        p.sum().backward()
        opt.step()
    assert names(prof, "range") == ["Optimizer.step#SGD.step"]


def test_flops():
    x = rg.randn(2, 3)
    with profile(with_flops=True) as prof:
        _ = x @ rg.ones(3, 5)
        x.exp()
    by_key = {a.key: a for a in prof.key_averages()}
    assert by_key["mm"].flops == 60 and by_key["exp"].flops == 0
    assert "Total FLOPs" in prof.key_averages().table()


def test_memory_of_ops_and_timeline():
    with profile(profile_memory=True) as prof:
        a = rg.zeros(1024)
        b = a.exp().view(32, 32)
        del a, b
        rg.zeros(1)
    deltas = [(e.name, e.cpu_memory_usage) for e in prof.events()]
    # What is freed between two ops counts for the second one.
    assert deltas == [("zeros", 4096), ("exp", 4096), ("view", 0), ("zeros", 64 - 8192)]
    points = prof.memory_timeline()
    start = points[0].bytes
    assert [p.bytes - start for p in points] == [0, 4096, 8192, 8192, 64]
    assert [p.op for p in points] == [None, "zeros", "exp", "view", "zeros"]
    assert [p.time_us for p in points] == sorted(p.time_us for p in points)
    assert sum(d for _, d in deltas) == points[-1].bytes - start
    assert "CPU Mem" in prof.key_averages().table()


def test_export_memory_timeline(tmp_path):
    with profile() as prof:
        rg.ones(2).exp()
    prof.export_memory_timeline(tmp_path / "m.json")
    plain = json.loads((tmp_path / "m.json").read_text())
    prof.export_memory_timeline(str(tmp_path / "m.json.gz"), device="cpu")
    assert json.loads(gzip.decompress((tmp_path / "m.json.gz").read_bytes())) == plain
    assert plain["ops"] == [None, "ones", "exp"]
    assert len({len(column) for column in plain.values()}) == 1
    with pytest.raises(ValueError, match="must end with .json"):
        prof.export_memory_timeline("m.html")
    with pytest.raises(ValueError, match="not on cuda"):
        prof.export_memory_timeline("m.json", device="cuda:0")


def _check_trace(trace):
    """What chrome://tracing and Perfetto need: fields, types, and lanes in which events nest."""
    json.dumps(trace, allow_nan=False)
    lanes = {}
    for e in trace["traceEvents"]:
        assert (
            e["ph"] in ("X", "C", "M") and isinstance(e["name"], str) and isinstance(e["pid"], int)
        )
        if e["ph"] == "X":
            assert e["ts"] >= 0 and e["dur"] >= 0 and isinstance(e["args"], dict)
            lanes.setdefault(e["tid"], []).append((e["ts"], -e["dur"], e["name"]))
        elif e["ph"] == "C":
            assert all(isinstance(v, int) for v in e["args"].values())
    for events in lanes.values():
        open_ = []
        for ts, minus, name in sorted(events):
            end = ts - minus
            while open_ and open_[-1] <= ts + 1e-9 and end > open_[-1]:
                open_.pop()
            assert not open_ or end <= open_[-1] + 1e-3, name
            open_.append(end)
    return lanes


def test_chrome_trace(tmp_path):
    model = net()
    x = rg.randn(5, 4)
    with profile(
        record_shapes=True, with_flops=True, with_modules=True, profile_memory=True
    ) as prof:
        with record_function("forward", "some args"):
            loss = model(x).sum()
        checkpoint(model, x).sum().backward()
        loss.backward()
    prof.add_metadata("who", "me")
    prof.add_metadata_json("numbers", "[1, 2]")
    path = tmp_path / "deep" / "trace.json"
    prof.export_chrome_trace(path)
    trace = json.loads(path.read_text())
    lanes = _check_trace(trace)
    assert trace["who"] == "me" and trace["numbers"] == [1, 2]
    titles = {
        e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"
    }
    in_lane = {titles[tid]: {name for *_, name in events} for tid, events in lanes.items()}
    assert {"forward", "Sequential.0"} <= in_lane["ranges"]
    assert {"linear", "relu", "sum"} <= in_lane["forward"]
    assert {"LinearBackward0", "mm"} <= in_lane["backward"]
    args = next(e["args"] for e in trace["traceEvents"] if e["name"] == "linear")
    assert args["Input Dims"][0] == [5, 4] and args["FLOPs"] == 2 * 5 * 4 * 8
    assert args["module"] == "Sequential.0" and args["line"].startswith(__file__)
    counters = [e for e in trace["traceEvents"] if e["ph"] == "C"]
    assert len(counters) == len(prof.memory_timeline())
    prof.export_chrome_trace(tmp_path / "trace.json.gz")
    _check_trace(json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes())))
    prof.events().export_chrome_trace(tmp_path / "events.json")
    _check_trace(json.loads((tmp_path / "events.json").read_text()))
    with pytest.raises(RuntimeError, match="sums of events"):
        prof.key_averages().export_chrome_trace(tmp_path / "no.json")
    with pytest.raises(ValueError):
        prof.add_metadata_json("bad", "{")


def test_export_stacks(tmp_path):
    x = rg.randn(200, 200)
    with profile() as prof, record_function("my range"):
        _ = x @ x
    prof.export_stacks(tmp_path / "stacks.txt")
    lines = (tmp_path / "stacks.txt").read_text().splitlines()
    assert any(s.startswith("my_range;") and ";mm " in s for s in lines)
    assert all(s.rpartition(" ")[2].isdigit() for s in lines)
    with pytest.raises(ValueError, match="metric must be"):
        prof.export_stacks(tmp_path / "s", "self_cuda_time_total")


def test_key_averages_group():
    with profile(record_shapes=True) as prof:
        for n in (2, 2, 3):
            rg.ones(n).exp()
    assert [(a.key, a.count) for a in prof.key_averages()] == [("ones", 3), ("exp", 3)]
    grouped = prof.key_averages(group_by_input_shape=True)
    exps = [(a.count, a.input_shapes) for a in grouped if a.key == "exp"]
    assert exps == [(2, [[2]]), (1, [[3]])]
    assert "Input Shapes" in grouped.table()
    with profile() as prof:
        rg.ones(1).exp()
        rg.ones(1).exp()
    assert [a.count for a in prof.key_averages(group_by_stack_n=1)] == [1, 1, 1, 1]
    exp = next(a for a in prof.key_averages() if a.key == "exp")
    assert exp.lines == 2 and exp.cpu_time == pytest.approx(exp.cpu_time_total / 2)
    with pytest.raises(ValueError, match="needs a profile with record_shapes=True"):
        prof.key_averages(group_by_input_shape=True)


def test_table():
    with profile() as prof, record_function("r" * 99):
        for _ in range(3):
            rg.ones(2).exp()
    averages = prof.key_averages()
    table = averages.table(sort_by="count", row_limit=2, header="A title", time_unit="us")
    title, head, rule, first, second, end = table.splitlines()
    assert title == "A title" and head.startswith("Name") and set(rule) == {"-", " "}
    assert first.split()[0] in ("ones", "exp") and end.startswith("Self CPU time total: ")
    assert "r" * 52 + "..." in averages.table()
    assert len(prof.events().table(top_level_events_only=True).splitlines()) == 4
    assert len(averages.table(row_limit=-1).splitlines()) == 6
    assert str(averages) == averages.table()
    shares = [float(row.split()[1].rstrip("%")) for row in averages.table().splitlines()[2:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.1)
    with pytest.raises(ValueError, match="cannot sort by 'self_cuda_time_total'.*on the CPU"):
        averages.table(sort_by="self_cuda_time_total")
    with pytest.raises(ValueError, match="time_unit"):
        averages.table(time_unit="h")
    with pytest.raises(RuntimeError, match="these are sums"):
        averages.total_average()


def test_an_empty_profile(tmp_path):
    with profile(with_modules=True) as prof:
        pass
    assert prof.events() == [] and prof.key_averages().table().startswith("Name")
    assert len(prof.memory_timeline()) == 1
    prof.export_chrome_trace(tmp_path / "t.json")
    _check_trace(json.loads((tmp_path / "t.json").read_text()))


def test_schedule_is_pytorchs():
    profiler = pytest.importorskip("torch").profiler
    for options in (
        {"wait": 1, "warmup": 1, "active": 2},
        {"wait": 0, "warmup": 1, "active": 1, "repeat": 2},
        {"wait": 2, "warmup": 1, "active": 3, "repeat": 1, "skip_first": 4},
        {"wait": 2, "warmup": 1, "active": 3, "repeat": 2, "skip_first": 1, "skip_first_wait": 1},
    ):
        ours, theirs = schedule(**options), profiler.schedule(**options)
        assert [ours(i).name for i in range(40)] == [theirs(i).name for i in range(40)]


def test_schedule_errors():
    with pytest.raises(ValueError, match="active must be positive"):
        schedule(wait=0, warmup=0, active=0)
    with pytest.raises(ValueError, match="not be negative"):
        schedule(wait=-1, warmup=0, active=1)
    with pytest.raises(ValueError, match="not be negative: -1"):
        schedule(wait=0, warmup=0, active=1)(-1)


def test_steps_of_a_schedule():
    seen = []

    def ready(prof):
        seen.append((prof.step_num, names(prof), names(prof, "range")))

    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=plan, on_trace_ready=ready) as prof:
        for i in range(10):
            rg.ones(1) if i % 2 else rg.zeros(1)
            prof.step()
    cycle = ["zeros", "ones"]
    assert seen == [
        (4, cycle, ["ProfilerStep#2", "ProfilerStep#3"]),
        (8, cycle, ["ProfilerStep#6", "ProfilerStep#7"]),
    ]
    assert names(prof) == cycle
    points = prof.memory_timeline()
    assert len(points) == 3


def test_cycles_can_be_kept():
    plan = schedule(wait=0, warmup=1, active=1)
    with profile(schedule=plan, acc_events=True) as prof:
        for _ in range(4):
            rg.ones(1)
            prof.step()
    assert names(prof) == ["ones", "ones"]


def test_leaving_within_an_active_step():
    seen = []
    plan = schedule(wait=0, warmup=1, active=5)
    with profile(schedule=plan, on_trace_ready=lambda p: seen.append(names(p))) as prof:
        prof.step()
        rg.ones(1)
    assert seen == [["ones"]]
    with profile(schedule=plan, on_trace_ready=lambda p: seen.append("no")) as prof:
        rg.ones(1)
    with pytest.raises(RuntimeError, match="nothing has been recorded"):
        prof.events()
    assert seen == [["ones"]]


def test_on_trace_ready_that_raises_leaves_nothing_behind():
    def fails(prof):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        with profile(on_trace_ready=fails):
            rg.ones(1)
    with profile() as prof:
        rg.ones(1)
    assert names(prof) == ["ones"]


def test_an_exception_inside_ends_the_profile():
    with pytest.raises(ValueError, match="inside"):
        with profile(with_modules=True) as prof:
            rg.ones(1)
            with pytest.raises(RuntimeError):
                _ = rg.ones(2, 3) @ rg.ones(2, 3)
            raise ValueError("inside")
    assert names(prof) == ["ones", "ones", "ones"]
    assert rg.profiler.ranges._active.recorders == ()


def test_starting_and_stopping_twice():
    prof = profile()
    with pytest.raises(RuntimeError, match="has not been started"):
        prof.stop()
    with pytest.raises(RuntimeError, match="has not been started"):
        prof.step()
    prof.start()
    with pytest.raises(RuntimeError, match="has been started"):
        prof.start()
    with pytest.raises(RuntimeError, match="nothing has been recorded"):
        prof.key_averages()
    prof.stop()
    prof.start()
    rg.ones(1)
    prof.stop()
    assert names(prof) == ["ones"]


def test_profiles_nest():
    with profile() as outer:
        rg.zeros(1)
        with profile() as inner:
            rg.ones(1)
        rg.zeros(1)
    assert names(inner) == ["ones"]
    assert names(outer) == ["zeros", "ones", "zeros"]


def test_stopping_within_another_observer():
    prof = profile()
    prof.start()
    rg.zeros(1)
    x = rg.ones(1000, requires_grad=True)
    with memory_budget(rg.memory.allocated()) as budget:
        prof.stop()
        y = x
        for _ in range(8):
            y = y.sin()
        y.sum().backward()
    assert names(prof) == ["zeros", "ones"] and budget.evictions > 0


def test_ops_that_fail_leave_times_alone():
    with profile() as prof:
        for _ in range(3):
            with pytest.raises(RuntimeError):
                rg.ones(2, 3) @ rg.ones(2, 3)
        rg.ones(1)
    assert all(event.end >= event.begin for event in prof.events())
    assert names(prof)[-1] == "ones"


def test_steps_within_another_observer():
    x = rg.ones(1000, requires_grad=True)
    plan = schedule(wait=1, warmup=0, active=1)
    with profile(schedule=plan) as prof, memory_budget(1 << 40):
        for _ in range(2):
            x.exp().sum().backward()
            x.grad = None
            prof.step()
    assert names(prof)[:2] == ["exp", "sum"]


def test_stopping_on_another_thread_is_an_error():
    prof = profile()
    prof.start()
    raised = []

    def stop():
        try:
            prof.stop()
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=stop)
    thread.start()
    thread.join()
    assert "another thread" in raised[0]
    prof.stop()


def test_activities():
    assert supported_activities() == {ProfilerActivity.CPU}
    with pytest.warns(UserWarning, match="CUDA is not available"):
        profile([ProfilerActivity.CPU, ProfilerActivity.CUDA])
    with pytest.raises(TypeError, match="one is a str"):
        profile(activities=["cpu"])
    with pytest.raises(ValueError, match="activities is empty"):
        profile(activities=[])
    assert ProfilerAction.RECORD_AND_SAVE.value == 3


def test_arguments_that_cannot_be_called():
    with pytest.raises(TypeError, match="schedule cannot be called: a int"):
        profile(schedule=5)
    with pytest.raises(TypeError, match="on_trace_ready cannot be called: a str"):
        profile(on_trace_ready="trace.json")


def test_ranges_that_are_not_entered_or_have_no_name():
    with pytest.raises(TypeError, match="name must be a str, not a int"):
        record_function(5)
    with pytest.raises(RuntimeError, match="the range 'a' was not entered"):
        record_function("a").__exit__(None, None, None)


def test_sums_cannot_be_summed():
    with profile() as prof:
        rg.ones(1)
    sums = prof.key_averages(group_by_overload_name=True)
    for summed in (sums.key_averages, sums.total_average):
        with pytest.raises(RuntimeError, match="these are sums of events"):
            summed()


def test_tensorboard_trace_handler(tmp_path):
    for gz in (False, True):
        with profile(on_trace_ready=tensorboard_trace_handler(tmp_path / "log", "w", use_gzip=gz)):
            rg.ones(1)
    files = sorted(p.name for p in (tmp_path / "log").iterdir())
    assert len(files) == 2
    assert all(name.startswith("w.") and ".pt.trace.json" in name for name in files)


def test_old_names():
    with old.profile(record_shapes=True) as prof, old.record_function("r"):
        rg.ones(2).exp()
    assert [e.key for e in prof.key_averages()] == ["r", "ones", "exp"]
    assert "Name" in str(prof) and prof.table() and prof.total_average().count == 3
    assert prof.self_cpu_time_total > 0 and len(prof.function_events) == 3
    with old.profile(enabled=False) as nothing:
        rg.ones(1)
    assert nothing is None
    with old.profile(use_device=None, use_kineto=True, acc_events=True) as prof:
        assert str(prof) == "<unfinished rustgrad.autograd.profiler.profile>"
        rg.ones(1)
    assert len(prof.key_averages(group_by_overload_name=True)) == 1
    with pytest.raises(RuntimeError, match="because of enabled=False"):
        old.profile(enabled=False).key_averages()
    for elsewhere in ({"use_cuda": True}, {"use_device": "cuda"}, {"use_cpu": False}):
        with pytest.raises(ValueError, match="ops run on the CPU"):
            old.profile(**elsewhere)
    with pytest.raises(AttributeError, match="there is no emit_nvtx"):
        old.emit_nvtx  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        old.nonsense  # noqa: B018


def test_values_are_the_same():
    rg.manual_seed(0)
    model, x = net(), rg.randn(3, 4)

    def grads():
        model.zero_grad()
        model(x).sum().backward()
        return [p.grad.tolist() for p in model.parameters()]

    plain = grads()
    with profile(record_shapes=True, with_modules=True, with_flops=True, profile_memory=True):
        assert grads() == plain
