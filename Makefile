# make demo       a spoken turn on a fresh clone
# make test       the test suite
# make test-fast  the unit tests, but for the slow ones
# make test-security  hostile files and requests, alone
# make audit      known vulnerabilities of what is installed, secrets in the tree
# make check      style and types
# make bench      figures of this machine
# Longer experiments (bench-tts, bench-llm, bench-load, bench-fairness, bench-faults, verify-gpu, roofline, gpu, question) are in
# bench/recipes/.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test test-fast test-security audit check bench readme clean

demo: .venv/demo
	$(BIN)/voxturn demo -o demo-output

# the longest first, so that neither of the two processes is left alone with them
TESTS := tests/triton tests/security tests/tiny tests/e2e tests/gpu tests/unit

test: .venv/dev .triton/ready
	$(BIN)/python -m pytest $(TESTS) --cov --cov-report=term:skip-covered -q -n 2 --dist loadfile --no-loadscope-reorder

test-fast: .venv/dev
	$(BIN)/python -m pytest tests/unit -q -m "not slow" -n 2

test-security: .venv/dev .triton/ready
	$(BIN)/python -m pytest tests/security -q -n 2 --dist loadfile

# an index without a list of vulnerabilities leaves packages unaudited, which is told; the results' and the registry's hashes are no secrets
audit: .venv/dev .triton/ready
	$(BIN)/pip-audit --progress-spinner off
	$(BIN)/pip-audit --progress-spinner off --path $(wildcard .triton/lib/python*/site-packages)
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --exclude-files '^bench/results/|^runtime/models/models.toml$$'

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
