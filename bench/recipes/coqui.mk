# Coqui's families at full size with random weights, against coqui-tts in the same process: about 12 minutes
.PHONY: bench-coqui
bench-coqui: .venv/dev
	$(BIN)/voxturn bench coqui --json bench/results/coqui-families.json
	$(MAKE) readme
