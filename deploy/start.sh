#!/bin/sh
# What the container runs: bring the profile's models into the volume, then serve. Arguments are those of `voxturn serve gateway`.
set -eu
# VOXTURN_ADDRESS: where the port is published. On that machine alone no key is needed, as without a container.
case "${VOXTURN_ADDRESS:-}" in 127.* | ::1 | localhost) set -- "$@" --open ;; esac
voxturn models pull --profile "$VOXTURN_PROFILE"
exec voxturn serve gateway --profile "$VOXTURN_PROFILE" "$@"
