# make demo: a spoken turn on a fresh clone. make test: the test suite. make check: style and types. make bench: figures.
PYTHON ?= python3.11
BIN := .venv/bin
WHISPER := build/gpu/whisper-large-v3-turbo

.PHONY: demo test check bench bench-tts bench-llm bench-load verify-gpu roofline gpu readme question clean

demo: .venv/demo
	$(BIN)/voxturn demo -o demo-output

test: .venv/dev .triton/ready
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered -q

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

# XTTS v2 at full size with random weights, against coqui-tts: about 2 GB under build/, half an hour
bench-tts: .venv/dev build/xtts/checkpoint
	$(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint -o build/xtts/int4 --precision int4
	$(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint -o build/xtts/int8 --precision int8
	for precision in int4 int8; do \
	  $(BIN)/voxturn bench tts --model xtts-v2 --artifact build/xtts/$$precision --checkpoint build/xtts/checkpoint \
	    --peer coqui-tts --json bench/results/tts-xtts-$$precision.json || exit 1; done
	$(BIN)/voxturn bench parity --model xtts-v2 --checkpoint build/xtts/checkpoint --json bench/results/parity-xtts.json
	$(MAKE) readme

# Qwen3-0.6B at full size with random weights, alone and in whole turns with the XTTS v2 of bench-tts. The peer llama.cpp
# joins if LLAMA_PYTHON names a Python that has llama-cpp-python, built for this machine.
bench-llm: .venv/dev build/qwen3/checkpoint
	for precision in int8 int4; do $(BIN)/voxturn export qwen3 --checkpoint build/qwen3/checkpoint --to onnx \
	  --precision $$precision -o build/qwen3/$$precision || exit 1; done
	$(BIN)/voxturn bench llm --artifact build/qwen3/int8 --artifact build/qwen3/int4 --checkpoint build/qwen3/checkpoint \
	  --llama-python "$(LLAMA_PYTHON)" --json bench/results/llm-qwen3.json
	$(BIN)/voxturn bench turn --profile cpu --reply build/qwen3/int4 --voice build/xtts/int4 \
	  --json bench/results/turn-cpu.json
	$(MAKE) readme

# XTTS behind the embedded Triton server: overhead, load, perf_analyzer, killed models; a quarter of an hour
bench-load: .triton/ready build/xtts/checkpoint
	test -d build/xtts/int4 || $(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint -o build/xtts/int4 --precision int4
	.triton/bin/voxturn bench load --artifact build/xtts/int4 --json bench/results/load-xtts.json
	$(MAKE) readme

# every graph of the profile gpu at full size, in float16, and in the other precisions that TensorRT takes, built by
# TensorRT-RTX for GPUs that are not here: about 22 GB
verify-gpu: .venv/dev build/xtts/checkpoint build/qwen3-1.7b/checkpoint
	mkdir -p build/gpu
	$(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint --for tensorrt --precision fp16 -o build/gpu/xtts-v2
	$(BIN)/voxturn export qwen3 --checkpoint build/qwen3-1.7b/checkpoint --to tensorrt-onnx --precision fp16 -o build/gpu/qwen3-1.7b
	$(BIN)/voxturn export qwen3 --checkpoint build/qwen3-1.7b/checkpoint --to tensorrt-onnx --precision bf16 -o build/gpu/qwen3-1.7b-bf16
	$(BIN)/python -P -m voxturn.export.verify_gpu build/gpu/xtts-v2 build/gpu/qwen3-1.7b --json bench/results/verify-gpu.json
	$(BIN)/python -P -m voxturn.export.verify_gpu build/gpu/qwen3-1.7b-bf16 --json bench/results/verify-gpu-bf16.json
	for precision in int8 int4; do \
	  $(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint --for tensorrt --precision $$precision \
	    -o build/gpu/xtts-v2-$$precision && \
	  $(BIN)/voxturn export qwen3 --checkpoint build/qwen3-1.7b/checkpoint --to tensorrt-onnx --precision $$precision \
	    -o build/gpu/qwen3-1.7b-$$precision || exit 1; done
	$(BIN)/voxturn bench parity --model qwen3 --checkpoint build/qwen3-1.7b/checkpoint --json bench/results/parity-qwen3.json
	$(BIN)/python -P -m voxturn.export.verify_gpu $(foreach precision,int8 int4,build/gpu/xtts-v2-$(precision) \
	  build/gpu/qwen3-1.7b-$(precision)) --json bench/results/verify-gpu-weights.json

# the turn on paper, from the graphs of `make verify-gpu` and a Whisper's. WHISPER_TOKENIZER is the tokenizer.json of any Whisper.
roofline: .venv/dev build/whisper/checkpoint
	$(BIN)/voxturn export whisper --checkpoint build/whisper/checkpoint --to tensorrt-onnx --precision fp16 -o $(WHISPER)
	$(BIN)/python -P -m voxturn.export.verify_gpu $(WHISPER) --json bench/results/verify-gpu-whisper.json
	$(BIN)/voxturn bench roofline --whisper $(WHISPER) --reply build/gpu/qwen3-1.7b --voice build/gpu/xtts-v2 \
	  --built bench/results/verify-gpu.json --built bench/results/verify-gpu-whisper.json --json bench/results/roofline.json
	for precision in int8 int4; do $(BIN)/voxturn bench roofline --whisper $(WHISPER) \
	  --reply build/gpu/qwen3-1.7b-$$precision --voice build/gpu/xtts-v2-$$precision \
	  --built bench/results/verify-gpu-weights.json --built bench/results/verify-gpu-whisper.json \
	  --json bench/results/roofline-$$precision.json || exit 1; done

# everything that needs a GPU; ARTIFACTS are folders that `export … --for tensorrt` wrote
gpu: .venv/dev
	$(BIN)/python -P -m voxturn.bench.gpu $(ARTIFACTS)

build/whisper/checkpoint: | .venv/dev
	mkdir -p build/whisper
	$(BIN)/voxturn export make-checkpoint whisper-large-v3-turbo --size full --seed 1 --tokenizer "$(WHISPER_TOKENIZER)" -o $@

build/qwen3-1.7b/checkpoint: | .venv/dev
	mkdir -p build/qwen3-1.7b
	$(BIN)/voxturn export make-checkpoint qwen3-1.7b --size full --seed 1 -o $@

build/qwen3/checkpoint: | .venv/dev
	mkdir -p build/qwen3
	$(BIN)/voxturn export make-checkpoint qwen3-0.6b --size full --seed 1 -o $@

build/xtts/checkpoint: | .venv/dev
	mkdir -p build/xtts
	$(BIN)/voxturn export make-checkpoint xtts-v2 --size full --seed 1 -o $@

# writes the measured table into README.md from the committed result files
readme: .venv/dev
	$(BIN)/python -P -m voxturn.bench.readme

# the question that ships with the package, in the demo's own voice
question: .venv/demo
	$(BIN)/voxturn say "What is the capital of France?" -o runtime/demo/question.wav

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
