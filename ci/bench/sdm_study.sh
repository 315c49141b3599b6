#!/usr/bin/env bash
# SDM on a mixture whose posterior is known, 50 seeds: what is accepted is right as often as promised, also under covariate shift
set -euo pipefail
go test ./models/sdm -count 1 -run '^TestStudy' -v -credence.long | grep -v '^=== '
