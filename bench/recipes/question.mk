# the question that ships with the package, in the demo's own voice
.PHONY: question
question: .venv/demo
	$(BIN)/voxturn say "What is the capital of France?" -o runtime/demo/question.wav
