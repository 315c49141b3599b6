#!/usr/bin/env bash
# time and allocations of a plan submission, from C and through Go
set -euo pipefail
build/native/test/submit_bench 1 build/lib/libcredence_cpu.so
go test ./runtime -count 1 -v -run '^TestBenchSubmit$' -credence.bench | grep -vE "^(===|---|ok|PASS)|level="
