#!/usr/bin/env bash
# SDM's matching against FAISS's flat index (pip) and the bare matrix product, a single query against the read rate
set -euo pipefail
venv=build/bench/venv
if ! "$venv/bin/python" -c 'import faiss, numpy' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet faiss-cpu numpy
fi
BENCH_PYTHON=$PWD/$venv/bin/python \
  go test ./runtime -count 1 -v -run '^TestBenchMatch' -credence.bench | grep -vE "^(===|---|ok|PASS)|level="
