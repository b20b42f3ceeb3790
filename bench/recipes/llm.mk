# Qwen3-0.6B at full size with random weights, alone and in whole turns with the XTTS v2 of bench-tts. The peer
# llama.cpp joins if LLAMA_PYTHON names a Python that has llama-cpp-python, built for this machine.
.PHONY: bench-llm
bench-llm: .venv/dev build/qwen3/checkpoint
	for precision in int8 int4; do $(BIN)/voxturn export qwen3 --checkpoint build/qwen3/checkpoint --for onnx \
	  --precision $$precision -o build/qwen3/$$precision || exit 1; done
	$(BIN)/voxturn bench llm --artifact build/qwen3/int8 --artifact build/qwen3/int4 \
	  --checkpoint build/qwen3/checkpoint --llama-python "$(LLAMA_PYTHON)" --json bench/results/llm-qwen3.json
	$(BIN)/voxturn bench turn --profile cpu --reply build/qwen3/int4 --voice build/xtts/int4 \
	  --json bench/results/turn-cpu.json
	$(MAKE) readme
