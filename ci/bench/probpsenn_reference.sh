#!/usr/bin/env bash
# Prob-PSENN: the reference run for every kind of prototypes, the stability of explanations, the original code's traps
set -euo pipefail
build/credence data mnist --out build/data/mnist
build/credence data fashion-mnist --out build/data/fashion-mnist

# study NAME LAW: one study, with the law of the first weights.
study() {
  go test ./models/probpsenn -v -count 1 -timeout 3h -run "^TestStudy$1\$" -credence.initial "$2" -credence.mnist "$PWD/build/data/mnist" \
    -credence.fashion "$PWD/build/data/fashion-mnist" -credence.models "$PWD/build/study" | grep -vE '^(=== RUN|--- PASS|PASS|ok )'
}

study Reference fan_in
study Reference glorot
study Stability glorot
study Traps glorot
