# make demo       a spoken turn on a fresh clone
# make test       the test suite
# make test-fast  the unit tests, but for the slow ones
# make test-security  hostile files and requests, alone
# make test-clients  the gateway by its clients' own packages: openai, Pipecat, LiveKit
# make test-firefox  the gateway's page in Firefox ESR
# make audit      known vulnerabilities of what is installed, secrets in the tree
# make check      style and types
# make bench      figures of this machine
# Longer experiments (bench-tts, bench-coqui, bench-llm, bench-load, bench-fairness, bench-faults, bench-gateway, bench-gateway-faults, bench-page, verify-gpu, roofline, gpu, question) are in
# bench/recipes/.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test test-fast test-security test-clients test-firefox audit check bench readme clean

demo: .venv/demo
	$(BIN)/voxturn demo -o demo-output
	@echo "next: $(BIN)/voxturn serve gateway   # then open http://127.0.0.1:8080, or point an OpenAI client at it"

# the longest first, so that neither of the two processes is left alone with them
TESTS := tests/triton tests/security tests/tiny tests/e2e tests/gpu tests/unit

# a process that dies ends the run and its test is named: with another in its place pytest-xdist 3.8 may wait for ever
SHARED := -n 2 --max-worker-restart=0

test: .venv/dev .triton/ready
	$(BIN)/python -m pytest $(TESTS) --cov --cov-report=term:skip-covered -q $(SHARED) --dist loadfile --no-loadscope-reorder

test-fast: .venv/dev
	$(BIN)/python -m pytest tests/unit -q -m "not slow" $(SHARED)

test-security: .venv/dev .triton/ready
	$(BIN)/python -m pytest tests/security -q $(SHARED) --dist loadfile

# the server runs in .venv; its clients, and what they need, in an environment of their own
test-clients: .venv/dev .clients/ready
	cd tests && VOXTURN=../$(BIN)/voxturn ../.clients/bin/python -P -m pytest clients -c clients/pytest.ini -q --ignore clients/test_page_firefox.py

# needs firefox-esr and pulseaudio
test-firefox: .venv/dev .clients/ready
	cd tests && VOXTURN=../$(BIN)/voxturn ../.clients/bin/python -P -m pytest clients/test_page_firefox.py -c clients/pytest.ini -q

# an index without a list of vulnerabilities leaves packages unaudited, which is told; the results' and the registry's hashes are no secrets, and "none" is no key
audit: .venv/dev .triton/ready
	$(BIN)/pip-audit --progress-spinner off
	$(BIN)/pip-audit --progress-spinner off --path $(wildcard .triton/lib/python*/site-packages)
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --exclude-files '^bench/results/|^runtime/models/models.toml$$' \
	  --exclude-lines 'api_key="none"'

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types && mkdir -p build/types/voxturn
	ln -s ../../../runtime ../../../export ../../../bench build/types/voxturn/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p voxturn
	cd build/types && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml ../../examples/*/*.py
	$(BIN)/python -P -m voxturn.bench.readme --check

bench: .venv/dev
	$(BIN)/voxturn bench turn --runs 20 --json bench/results/turn-demo.json
	$(BIN)/voxturn bench decode --json bench/results/decode-demo.json
	$(BIN)/voxturn bench stt --json bench/results/stt-demo.json
	$(BIN)/voxturn bench parity --json bench/results/parity-demo.json
	$(MAKE) readme

# writes the measured tables into README.md and the docs from the committed result files
readme: .venv/dev
	$(BIN)/python -P -m voxturn.bench.readme

# an editable install finds new files by itself; it is made again when what it builds changes
.venv/demo: pyproject.toml CMakeLists.txt $(wildcard runtime/native/*)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[export,gateway,vits]"
	touch $@

.venv/dev: .venv/demo
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[dev]"
	touch $@

# the embedded Triton server's own environment: its Python backend needs numpy before 2
.triton/ready: Makefile pyproject.toml CMakeLists.txt $(wildcard runtime/native/*)
	test -x .triton/bin/python || $(PYTHON) -m venv .triton
	.triton/bin/python -m pip install -q --disable-pip-version-check -C build-dir=build/triton -e ".[embedded,openvino,vits,xtts,triton,triton-embedded]"
	touch $@

.clients/ready: tests/clients/requirements.txt pyproject.toml
	test -x .clients/bin/python || $(PYTHON) -m venv .clients
	.clients/bin/python -m pip install -q --disable-pip-version-check -r tests/clients/requirements.txt
	.clients/bin/python -m pip install -q --disable-pip-version-check -C build-dir=build/clients -e ".[pipecat,livekit]"
	touch $@

clean:
	rm -rf .venv .triton .clients build demo-output

include bench/recipes/*.mk
