#!/bin/sh
# What the container runs: bring the profile's models into the volume, then serve. Arguments are those of `voxturn serve gateway`.
set -eu
voxturn models pull --profile "$VOXTURN_PROFILE"
exec voxturn serve gateway --profile "$VOXTURN_PROFILE" "$@"
