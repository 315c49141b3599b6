#!/usr/bin/env bash
# Prob-PSENN: longer trainings on MNIST and Fashion-MNIST, and every score against the other's, turned and noisy pictures
set -euo pipefail
for name in mnist fashion-mnist; do build/credence data $name --out build/data/$name; done

# longer NAME OTHER: trains with ci/bench/probpsenn_NAME.json, resuming what an earlier run has left, and evaluates.
longer() {
  local data=build/data/$1 model=build/long/$1.safetensors checkpoint=build/long/$1.checkpoint resume=()
  mkdir -p build/long
  build/credence data vary --data "$data" --turn 90 --out "$data-turned"
  build/credence data vary --data "$data" --noise 0.5 --out "$data-noisy"
  if [[ -f $checkpoint ]]; then resume=(--resume "$checkpoint"); fi
  { time build/credence train probpsenn --data "$data" --config "ci/bench/probpsenn_$1.json" --out "$model" \
    --checkpoint "$checkpoint" "${resume[@]}"; } 2>&1
  build/credence evaluate --model "$model" --data "$data" --ood "$2=build/data/$2" --ood "turned=$data-turned" --ood "noisy=$data-noisy"
}

echo
longer mnist fashion-mnist
echo
longer fashion-mnist mnist
