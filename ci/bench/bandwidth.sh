#!/usr/bin/env bash
# memory-bound operations against the rate at which one thread reads memory, in turn
set -euo pipefail
build/native/test/bandwidth_bench build/lib/libcredence_cpu.so
