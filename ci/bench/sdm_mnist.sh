#!/usr/bin/env bash
# SDM over Prob-PSENN's latent vectors of MNIST: what alpha .99 and .95 accept of fresh digits, how much of it is right, and of Fashion-MNIST
set -euo pipefail
out=build/sdm-mnist
mkdir -p $out
build/credence data mnist --out build/data/mnist >/dev/null
build/credence data fashion-mnist --out build/data/fashion-mnist >/dev/null
if [[ ! -f $out/encoder.safetensors ]]; then
  echo '{"hold_out": 0.5}' >$out/config.json
  build/credence train probpsenn --data build/data/mnist --config $out/config.json --out $out/encoder.safetensors
fi

# features NAME ARGUMENT...: latent vectors with the reconstruction error as an attribute
features() {
  local name=$1
  shift
  build/credence features --model $out/encoder.safetensors --out $out/"$name".sdmdataset "$@" >/dev/null
}

features held-t --data build/data/mnist --split train --part held --rows 0:15000
features held-c --data build/data/mnist --split train --part held --rows 15000:30000
features trained-t --data build/data/mnist --split train --part trained --rows 0:15000
features trained-c --data build/data/mnist --split train --part trained --rows 15000:30000
features test --data build/data/mnist
features foreign --data build/data/fashion-mnist --labels ood

# study NAME ROWS COMPOSITION: train, and the lines of the table at the two alphas
study() {
  local m=$out/$1.sdmkitmodel
  build/credence sdm train --training $out/"$2"-t.sdmdataset --calibration $out/"$2"-c.sdmdataset --composition "$3" --out "$m" \
    --alpha-resolution .01 --exemplar-dimension 64 --epochs 12 --learning-rate 1e-3 --seed 1 >$out/"$1".log
  build/credence sdm evaluate --model "$m" --in $out/test.sdmdataset --composition "$3" --json $out/"$1".json >/dev/null
  build/credence sdm evaluate --model "$m" --in $out/foreign.sdmdataset --composition "$3" --json $out/"$1"-foreign.json >/dev/null
  python3 ci/bench/sdm_mnist.py "$1" $out/"$1".json $out/"$1"-foreign.json
}

echo "10000 test digits; support and calibration of 15000 rows each; alpha resolution .01; the least class with its count and the"
echo "binomial standard error that alpha has there; admitted of 10000 pictures of clothes"
study latents+reconstruction held embedding+attributes
study latents held embedding
echo "simple alternatives on the same features and rows (latents+reconstruction):"
build/credence sdm evaluate --model $out/latents+reconstruction.sdmkitmodel --in $out/test.sdmdataset --ood clothes=$out/foreign.sdmdataset \
  --training $out/held-t.sdmdataset --calibration $out/held-c.sdmdataset --alphas 0.99,0.95 | sed -n '/^at alpha/,$p'
echo
echo "support and calibration of rows that the encoder was trained on, for the bias:"
study seen-latents+reconstruction trained embedding+attributes
