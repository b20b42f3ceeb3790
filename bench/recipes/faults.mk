# the demo behind the embedded Triton server: its models killed and stopped under load; five minutes
.PHONY: bench-faults
bench-faults: .triton/ready
	.triton/bin/voxturn bench faults --json bench/results/faults.json
