#!/usr/bin/env bash
# products of small networks whose inputs are mostly 0: skipping zeros against the dense product
set -euo pipefail
go test ./runtime -count 1 -v -run '^TestBenchSparseInputs$' -credence.bench | grep -vE "^(===|---|ok|PASS)|level="
