# XTTS v2 at full size with random weights, against coqui-tts: about 2 GB under build/, half an hour
.PHONY: bench-tts
bench-tts: .venv/dev build/xtts/checkpoint
	$(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint -o build/xtts/int4 --precision int4
	$(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint -o build/xtts/int8 --precision int8
	for precision in int4 int8; do \
	  $(BIN)/voxturn bench tts --model xtts-v2 --artifact build/xtts/$$precision \
	    --checkpoint build/xtts/checkpoint --peer coqui-tts \
	    --json bench/results/tts-xtts-$$precision.json || exit 1; done
	$(BIN)/voxturn bench parity --model xtts-v2 --checkpoint build/xtts/checkpoint \
	  --json bench/results/parity-xtts.json
	$(MAKE) readme
