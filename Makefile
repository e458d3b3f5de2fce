# Everything a fresh machine with rustc, Python >= 3.10 and make needs: `make demo`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find src python build.rs Cargo.toml Cargo.lock pyproject.toml -type f -not -name '*.so' -not -name '*.pyc')

.PHONY: all demo docs compatibility test test-rust test-isa test-python sanitize lint typing stubs bench clean

all: $(VENV)/wheel

# The virtual environment, with everything pinned.
$(VENV)/ready: requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# The release wheel, built and installed.
$(VENV)/wheel: $(VENV)/ready $(SOURCES)
	rm -rf dist
	$(BIN)/maturin build --release --interpreter $(BIN)/python --out dist
	$(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/*.whl
	touch $@

# Trains a network on handwritten digits; pictures go to out/.
demo: $(VENV)/wheel
	$(BIN)/python examples/digits.py

# The documentation as a site of its own, in out/site: open out/site/index.html. Any warning fails.
docs: $(VENV)/wheel $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(VENV)/docs: $(VENV)/ready requirements-docs.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

# Writes docs/compatibility.md anew, where PyTorch is installed.
compatibility: $(VENV)/wheel
	$(BIN)/python tools/compatibility.py

test: lint typing test-rust test-python

# Unit and integration tests, doctests, and the example, without Python.
test-rust: test-isa
	cargo test --quiet
	cargo run --quiet --example quickstart

# The kernels' tests with instruction sets below the processor's best, which `test-rust` takes.
test-isa:
	RUSTGRAD_ISA=base cargo test --quiet --lib backend
	RUSTGRAD_ISA=avx2 cargo test --quiet --lib backend

# The unit tests with AddressSanitizer and without reuse of buffers: see NOTE [Unpooled]. The option
# is an unstable one of the compiler.
sanitize:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg unpooled" cargo test --quiet --lib \
		--target $$(rustc -vV | sed -n 's/^host: //p') --target-dir target/sanitize

# The suites, the docstrings, and the examples, against the installed wheel.
test-python: $(VENV)/wheel
	$(BIN)/python -m pytest -n 2 tests/python
	$(BIN)/python tests/doctests.py

lint: $(VENV)/ready
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --features python -- -D warnings
	$(BIN)/ruff check python tests tools examples benches
	$(BIN)/ruff format --check python tests tools examples benches

# The type stubs: up to date, true of the installed package, and good for typical programs.
typing: $(VENV)/wheel
	$(BIN)/python tools/stubs.py --check
	$(BIN)/python -m mypy.stubtest rustgrad --allowlist tests/stubtest_allowlist.txt
	$(BIN)/python -m mypy tests/python/typing_examples.py
	$(BIN)/python tests/python/typing_examples.py

# Writes the type stubs anew, after a change of the op table or of `Tensor`.
stubs: $(VENV)/wheel
	$(BIN)/python tools/stubs.py

# Costs, side by side with PyTorch where it is installed.
bench: $(VENV)/wheel
	cargo bench --bench tape --bench kernels
	$(BIN)/python benches/python/vs_torch.py

clean:
	rm -rf $(VENV) dist out target
