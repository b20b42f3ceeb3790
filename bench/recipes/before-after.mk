# two versions on one machine, run in alternation, each with models of its own. BEFORE is a checkout of the earlier one with
# environments of its own, ARTIFACT an int4 export of XTTS v2 that both can read. Half an hour, on a quiet machine.
.PHONY: before-after

PAIRS := $(CURDIR)/build/before-after
ROUNDS := 1 2

before-after: .venv/dev .triton/ready
	mkdir -p $(PAIRS)
	for round in $(ROUNDS); do for side in before after; do \
	  root=$$(test $$side = before && echo "$(BEFORE)" || echo .); \
	  export VOXTURN_HOME=$(PAIRS)/$$side-home; \
	  "$$root/.venv/bin/voxturn" models pull --profile demo || exit 1; \
	  for what in "turn --profile demo --runs 10" decode "tts --artifact $(ARTIFACT) --runs 6" \
	    "load --artifact $(ARTIFACT) --streams 1,4 --runs 4"; do \
	    place=.venv; case $$what in load*) place=.triton;; esac; \
	    "$$root/$$place/bin/voxturn" bench $$what --json "$(PAIRS)/$$side-$${what%% *}-$$round.json" || exit 1; \
	  done; done; done
	$(BIN)/python -P -m voxturn.bench.compare --before $(PAIRS)/before-*.json --after $(PAIRS)/after-*.json \
	  --json bench/results/joints-before-after.json
