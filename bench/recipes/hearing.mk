# what is hard to hear: repeated speech, paragraphs in many languages, noise, sounds without words. Six minutes.
.PHONY: hearing
hearing: .venv/dev
	$(BIN)/voxturn models pull --profile demo
	$(BIN)/voxturn bench stt --hard --json bench/results/stt-hard.json
