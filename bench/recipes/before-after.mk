# two versions on one machine, in alternation. BEFORE is a checkout of the earlier one with environments of its own, ARTIFACT
# an int4 export of XTTS v2 that both can read. Both use the same models, which the earlier one exported: memory that is
# mapped from files depends on how those were written. A quarter of an hour, on a quiet machine.
.PHONY: before-after

PAIRS := $(CURDIR)/build/before-after

before-after: .venv/dev .triton/ready
	BEFORE="$(BEFORE)" ARTIFACT="$(ARTIFACT)" PAIRS="$(PAIRS)" bash bench/recipes/before-after.sh
	$(BIN)/python -P -m voxturn.bench.compare --before $(PAIRS)/before-*.json --after $(PAIRS)/after-*.json \
	  --json bench/results/joints-before-after.json
