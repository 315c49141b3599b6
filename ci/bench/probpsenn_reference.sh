#!/usr/bin/env bash
# Prob-PSENN: the reference run for every kind of prototypes, the stability of explanations, the original code's traps
set -euo pipefail
build/credence data mnist --out build/data/mnist
build/credence data fashion-mnist --out build/data/fashion-mnist
for study in Reference Stability Traps; do
  go test ./models/probpsenn -v -count 1 -timeout 3h -run "^TestStudy$study\$" -credence.mnist "$PWD/build/data/mnist" \
    -credence.fashion "$PWD/build/data/fashion-mnist" -credence.models "$PWD/build/study" | grep -vE '^(=== RUN|--- PASS|PASS|ok )'
done
