# XTTS behind the embedded Triton server: overhead, load, perf_analyzer, killed models; a quarter of an hour
.PHONY: bench-load bench-fairness
bench-load: .triton/ready build/xtts/checkpoint
	test -d build/xtts/int4 || $(BIN)/voxturn export xtts-v2 --checkpoint build/xtts/checkpoint \
	  -o build/xtts/int4 --precision int4
	.triton/bin/voxturn bench load --artifact build/xtts/int4 --json bench/results/load-xtts.json
	$(MAKE) readme

# four clients of the demo's voice beside a greedy one; five minutes
bench-fairness: .triton/ready
	.triton/bin/voxturn bench fairness --json bench/results/fairness.json
