#!/usr/bin/env bash
# memory-bound operations against the machine's own read and copy rates, in turn
set -euo pipefail
go test ./runtime -count 1 -v -run '^TestBenchBandwidth$' -credence.bench | grep -vE "^(===|---|ok|PASS)|level="
