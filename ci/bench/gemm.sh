#!/usr/bin/env bash
# float32 matrix products through a plan against OpenBLAS called directly, in turn
set -euo pipefail
go test ./runtime -count 1 -v -run '^TestBenchGEMM$' -credence.bench | grep -vE "^(===|---|ok|PASS)|level="
