# what concerns GPUs: graphs built without one, the turn on paper, and everything that needs one
WHISPER := build/gpu/whisper-large-v3-turbo

.PHONY: verify-gpu roofline gpu

# every graph of the profile gpu at full size, in float16, and in the other precisions that TensorRT takes, built by
# TensorRT-RTX for GPUs that are not here: about 22 GB
verify-gpu: .venv/dev build/xtts/checkpoint build/qwen3-1.7b/checkpoint
	mkdir -p build/gpu
	$(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint --for tensorrt --precision fp16 \
	  -o build/gpu/xtts-v2
	$(BIN)/voxturn export qwen3 --checkpoint build/qwen3-1.7b/checkpoint --for tensorrt --precision fp16 \
	  -o build/gpu/qwen3-1.7b
	$(BIN)/voxturn export qwen3 --checkpoint build/qwen3-1.7b/checkpoint --for tensorrt --precision bf16 \
	  -o build/gpu/qwen3-1.7b-bf16
	$(BIN)/python -P -m voxturn.export.verify_gpu build/gpu/xtts-v2 build/gpu/qwen3-1.7b \
	  --json bench/results/verify-gpu.json
	$(BIN)/python -P -m voxturn.export.verify_gpu build/gpu/qwen3-1.7b-bf16 \
	  --json bench/results/verify-gpu-bf16.json
	for precision in int8 int4; do \
	  $(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint --for tensorrt --precision $$precision \
	    -o build/gpu/xtts-v2-$$precision && \
	  $(BIN)/voxturn export qwen3 --checkpoint build/qwen3-1.7b/checkpoint --for tensorrt --precision $$precision \
	    -o build/gpu/qwen3-1.7b-$$precision || exit 1; done
	$(BIN)/voxturn bench parity --model qwen3 --checkpoint build/qwen3-1.7b/checkpoint \
	  --json bench/results/parity-qwen3.json
	$(BIN)/python -P -m voxturn.export.verify_gpu $(foreach precision,int8 int4,build/gpu/xtts-v2-$(precision) \
	  build/gpu/qwen3-1.7b-$(precision)) --json bench/results/verify-gpu-weights.json

# the turn on paper, from the graphs of `make verify-gpu` and a Whisper's
roofline: .venv/dev build/whisper/checkpoint
	$(BIN)/voxturn export whisper --checkpoint build/whisper/checkpoint --for tensorrt --precision fp16 -o $(WHISPER)
	$(BIN)/python -P -m voxturn.export.verify_gpu $(WHISPER) --json bench/results/verify-gpu-whisper.json
	$(BIN)/voxturn bench roofline --whisper $(WHISPER) --reply build/gpu/qwen3-1.7b --voice build/gpu/xtts-v2 \
	  --built bench/results/verify-gpu.json --built bench/results/verify-gpu-whisper.json \
	  --json bench/results/roofline.json
	for precision in int8 int4; do $(BIN)/voxturn bench roofline --whisper $(WHISPER) \
	  --reply build/gpu/qwen3-1.7b-$$precision --voice build/gpu/xtts-v2-$$precision \
	  --built bench/results/verify-gpu-weights.json --built bench/results/verify-gpu-whisper.json \
	  --json bench/results/roofline-$$precision.json || exit 1; done

# everything that needs a GPU; ARTIFACTS are folders that `export … --for tensorrt` wrote
gpu: .venv/dev
	$(BIN)/python -P -m voxturn.bench.gpu $(ARTIFACTS)
