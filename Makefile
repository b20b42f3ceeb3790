# make demo       a spoken turn on a fresh clone
# make test       the test suite
# make test-fast  the unit tests, but for the slow ones
# make check      style and types
# make bench      figures of this machine
# Longer experiments (bench-tts, bench-llm, bench-load, verify-gpu, roofline, gpu, question) are in bench/recipes/.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test test-fast check bench readme clean

demo: .venv/demo
	$(BIN)/voxturn demo -o demo-output

# the longest first, so that neither of the two processes is left alone with them
TESTS := tests/triton tests/security tests/tiny tests/e2e tests/gpu tests/unit

test: .venv/dev .triton/ready
	$(BIN)/python -m pytest $(TESTS) --cov --cov-report=term:skip-covered -q -n 2 --dist loadfile --no-loadscope-reorder

test-fast: .venv/dev
	$(BIN)/python -m pytest tests/unit -q -m "not slow" -n 2

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types && mkdir -p build/types/voxturn
	ln -s ../../../runtime ../../../export ../../../bench build/types/voxturn/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p voxturn
	$(BIN)/python -P -m voxturn.bench.readme --check

bench: .venv/dev
	$(BIN)/voxturn bench turn --runs 20 --json bench/results/turn-demo.json
	$(BIN)/voxturn bench decode --json bench/results/decode-demo.json
	$(BIN)/voxturn bench stt --json bench/results/stt-demo.json
	$(BIN)/voxturn bench parity --json bench/results/parity-demo.json
	$(MAKE) readme

# writes the measured table into README.md from the committed result files
readme: .venv/dev
	$(BIN)/python -P -m voxturn.bench.readme

# an editable install finds new files by itself; it is made again when what it builds changes
.venv/demo: pyproject.toml CMakeLists.txt $(wildcard runtime/native/*)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[export,vits]"
	touch $@

.venv/dev: .venv/demo
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[dev]"
	touch $@

# the embedded Triton server's own environment: its Python backend needs numpy before 2
.triton/ready: Makefile pyproject.toml CMakeLists.txt $(wildcard runtime/native/*)
	test -x .triton/bin/python || $(PYTHON) -m venv .triton
	.triton/bin/python -m pip install -q --disable-pip-version-check -C build-dir=build/triton -e ".[embedded,openvino,vits,xtts,triton,triton-embedded]"
	touch $@

clean:
	rm -rf .venv .triton build demo-output

include bench/recipes/*.mk
