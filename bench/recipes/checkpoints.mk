# synthetic checkpoints at full size: random weights in the official layouts, for sizes and speed, never for what they say

build/xtts/checkpoint: | .venv/dev
	mkdir -p build/xtts
	$(BIN)/voxturn export make-checkpoint xtts-v2 --size full --seed 1 -o $@

build/qwen3/checkpoint: | .venv/dev
	mkdir -p build/qwen3
	$(BIN)/voxturn export make-checkpoint qwen3-0.6b --size full --seed 1 -o $@

build/qwen3-1.7b/checkpoint: | .venv/dev
	mkdir -p build/qwen3-1.7b
	$(BIN)/voxturn export make-checkpoint qwen3-1.7b --size full --seed 1 -o $@

# WHISPER_TOKENIZER is the tokenizer.json of any Whisper
build/whisper/checkpoint: | .venv/dev
	mkdir -p build/whisper
	$(BIN)/voxturn export make-checkpoint whisper-large-v3-turbo --size full --seed 1 \
	  --tokenizer "$(WHISPER_TOKENIZER)" -o $@
