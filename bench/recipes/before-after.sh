#!/usr/bin/env bash
# Runs each benchmark of BEFORE and of this version by turns, and which goes first changes, too. See before-after.mk.
set -euo pipefail
mkdir -p "$PAIRS"
export VOXTURN_HOME="$PAIRS/home"
"$BEFORE/.venv/bin/voxturn" models pull --profile demo

# rounds, environment, name of the benchmark, its options
by_turns() {
  local rounds=$1 environment=$2 name=$3
  shift 3
  for round in $(seq "$rounds"); do
    local sides="before after"
    ((round % 2)) || sides="after before"
    for side in $sides; do
      local root=.
      [ "$side" = after ] || root=$BEFORE
      "$root/$environment/bin/voxturn" bench "$name" "$@" --json "$PAIRS/$side-$name-$round.json"
    done
  done
}

by_turns 4 .venv turn --profile demo --runs 10
by_turns 4 .venv decode
by_turns 2 .venv tts --artifact "$ARTIFACT" --runs 6
by_turns 2 .triton load --artifact "$ARTIFACT" --streams 1,4 --runs 4
