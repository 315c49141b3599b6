#!/usr/bin/env bash
# Prob-PSENN: the specification's reference run for every kind of prototypes, and the stability of the explanations
set -euo pipefail
build/credence data mnist --out build/data/mnist
build/credence data fashion-mnist --out build/data/fashion-mnist
go test ./models/probpsenn -v -count 1 -timeout 3h -run '^TestStudy' -credence.mnist "$PWD/build/data/mnist" \
  -credence.fashion "$PWD/build/data/fashion-mnist" -credence.models "$PWD/build/study"
