#!/usr/bin/env bash
# time and allocations of a plan submission, from C and through Go
set -euo pipefail
build/native/test/submit_bench build/lib/libcredence_cpu.so
go test ./runtime -count 1 -v -run '^TestBenchSubmit$' -credence.bench | grep -vE "^(===|---|ok|PASS)|level="
go test ./bindings ./runtime -run '^$' -bench 'Submit|Run' -benchmem -count 5
