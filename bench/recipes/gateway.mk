# the gateway against the session in process, under load and idle (an hour); broken and killed, and its engines killed (20 minutes);
# its page in Chromium against the session in process (10 minutes)
.PHONY: bench-gateway bench-gateway-pairs bench-gateway-faults bench-page
bench-gateway: .venv/dev
	$(BIN)/voxturn bench gateway --json bench/results/gateway.json

bench-gateway-pairs: .venv/dev
	$(BIN)/voxturn bench gateway --pairs 40 --rates '' --soak 0 --json bench/results/gateway-pairs.json

bench-gateway-faults: .venv/dev .triton/ready
	$(BIN)/voxturn bench gateway-faults --triton .triton/bin/voxturn --json bench/results/gateway-faults.json

bench-page: .venv/dev .clients/ready
	.clients/bin/voxturn bench page --voxturn $(BIN)/voxturn --json bench/results/page.json
