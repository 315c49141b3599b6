# shellcheck shell=bash
# gpu.sh: what ci/gpu does. Sourced after common.sh and nvcc.sh.

packed=$root/build/gpu     # travels to the machine with the GPU
run=$root/build/gpu-run    # everything that is made there
limit=${GPU_SECONDS:-540}  # seconds for all of it
packages=(runtime models/mlp models/probpsenn models/sdm models/sparse)

# ---- on a machine with Go ----

# The CPU backend's libraries that another machine may lack travel beside it.
pack() {
  local stage=$root/build/gpu-pack package library
  set_up certificates compiler cmake ninja openblas
  step "pack: build the CPU backend" build_cpu
  rm -rf "$stage" "$packed"
  mkdir -p "$stage/bin" "$stage/lib-cpu" "$packed"
  step "pack: test binaries and programs" pack_binaries "$stage/bin"
  cp "$root/build/lib/libcredence_cpu.so" "$stage/lib-cpu"
  for library in libopenblas.so.0 libgfortran.so.5 libquadmath.so.0; do
    package=$(ldd "$stage/lib-cpu/libcredence_cpu.so" | awk -v name="$library" '$1 == name { print $3 }')
    if [[ -n $package ]]; then cp -L "$package" "$stage/lib-cpu/$library"; fi
  done
  strip --strip-unneeded "$stage"/lib-cpu/*
  step "pack: pictures of digits" "$stage/bin/credence" data mnist --out "$root/build/data/mnist"
  mkdir "$stage/digits"
  cp "$root"/build/data/mnist/t10k-* "$stage/digits"
  commit >"$stage/commit"
  XZ_OPT='-T0 -2' tar -C "$stage" -cJf "$packed/pack.tar.xz" bin lib-cpu digits commit
  rm -rf "$stage"
  say "pack: build/gpu, $(($(stat -c %s "$packed/pack.tar.xz") / 1048576)) MiB, after $(total) s"
}

build_cpu() {
  configure "$root/build"
  cmake --build "$root/build" --target credence_cpu
}

# pack_binaries DIRECTORY: models/mlp becomes mlp.test.
pack_binaries() {
  local package
  for package in "${packages[@]}"; do go test -c -ldflags '-s -w' -o "$1/$(basename "$package").test" "./$package"; done
  go build -ldflags '-s -w' -o "$1" ./cmd/credence ./cmd/credence-probe
}

# ---- on a machine with a GPU: what is recorded ----

begin_gpu() {
  mkdir -p "$run/log" "$run/bin"
  rm -f "$run"/log/*
  : >"$run/checks"
  : >"$run/timings"
  failures=0
  unset "${!CREDENCE_@}"
  export CREDENCE_TEST_ROOT=$root CREDENCE_TEST_REQUIRE_NATIVE=1
  if $emulated; then
    library=$root/build/emulated # where tests look unless CREDENCE_TEST_CUDA is set
    tests=$root/build/native/test
    peers=$tests/emulator/emulated_gpu_peers lost=$tests/emulator/emulated_lost_test
    table=$run/emulated.md tiny=(-credence.tiny) torch=cpu rounds=2
  else
    find_nvcc || true
    # libcublas comes with PyTorch, which must find its own first, or with the toolkit
    look_in "$(cublas_of_python)"
    look_in "$(dirname "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")/lib64"
    library=$run/lib
    export CREDENCE_TEST_CUDA=$library
    tests=$run/build/native/test
    peers=$tests/gpu_peers lost=$tests/lost_test
    table=${OUT:-$root/ci/bench/results}/gpu.md tiny=() torch=cuda rounds=20
  fi
  look_in "$run/lib-cpu" # OpenBLAS, where it travelled
  cuda=$library/libcredence_cuda.so
  export CREDENCE_BACKEND_DIR=$library:$root/build/lib
}

# look_in DIRECTORY: libraries are looked for there, too.
look_in() {
  if [[ -n $1 ]]; then export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$1; fi
}

# cublas_of_python: the directory of the libcublas that PyTorch brought, if it did.
cublas_of_python() {
  python3 -c 'import glob, os, sysconfig
found = sorted(glob.glob(os.path.join(sysconfig.get_path("purelib"), "nvidia", "*", "lib", "libcublas.so.*")))
print(os.path.dirname(found[-1]) if found else "")' 2>/dev/null || true
}

# left: the seconds that are left.
left() { printf '%d\n' $((limit - ($(now) - steps_begun) / 1000000)); }

# check NAME SECONDS COMMAND...: runs it for so long at most and records the outcome: passed; skipped, by exit status 77
# and with the last line as the reason; else failed. A function runs in a shell of its own with errexit on.
check() {
  local name=$1 most=$2 log begun rc=0 outcome detail took
  shift 2
  log=$run/log/$(tr -c 'A-Za-z0-9\n' '-' <<<"$name").log
  begun=$(now)
  if (($(left) < 5)); then
    record "$name" failed 0.0 "not run: the time was up"
    return
  fi
  if ((most > $(left))); then most=$(left); fi
  set +e
  set -m # jobs are process groups, which can be ended whole
  (
    set -e
    cd "$root" && "$@"
  ) >"$log" 2>&1 &
  local job=$!
  (sleep "$most" && kill -- -"$job") 2>/dev/null &
  local clock=$!
  set +m
  wait "$job" 2>/dev/null
  rc=$?
  kill -- -"$clock" 2>/dev/null
  wait "$clock" 2>/dev/null
  set -e
  took=$(seconds $(($(now) - begun)))
  case $rc in
    0) outcome=passed detail=$(sed -n 's/^detail: //p' "$log" | tail -n 1) ;;
    77) outcome=skipped detail=$(tail -n 1 "$log") ;;
    *)
      outcome=failed detail=$(grep -aE 'FAIL|rror|panic|status' "$log" | grep -av '^detail: ' | sed -n '1s/^ *//p' | cut -c 1-160 || true)
      if ((rc > 128)); then detail="ended by signal $((rc - 128))"; fi
      if (($(now) - begun >= most * 1000000)); then detail="not done after $most s"; fi
      ;;
  esac
  record "$name" $outcome "$took" "${detail//|/ }"
  if [[ $outcome == failed ]]; then tail -n 25 "$log"; fi
}

record() {
  printf '%s|%s|%s|%s\n' "$@" >>"$run/checks"
  if [[ $2 == failed ]]; then failures=$((failures + 1)); fi
  printf '%-8s %-60s %7s s  %s\n' "$2" "$1" "$3" "$4"
  write_table
}

# write_table: after each check, so that what is there survives whatever comes.
write_table() {
  local new=$run/table.new title="The CUDA backend on a GPU"
  if $emulated; then title="ci/gpu on the emulator: whether the script works"; fi
  {
    printf '%s\n' "# $title" "" "$(date -u +%Y-%m-%d), commit $(commit), \`ci/gpu ${sections[*]}\`." ""
    if [[ -s $run/machine ]]; then cat "$run/machine"; fi
    printf '%s\n' "" "| check | outcome | seconds | |" "|---|---|---|---|"
    sed 's/|/ | /g; s/^/| /; s/$/ |/' "$run/checks"
    if [[ -s $run/timings ]]; then
      printf '%s\n' "" "Medians; a ratio is theirs over ours. Steps of a feed-forward block, matching and products are times of the device," \
        "by events, with cold weights; training, submissions and networks are by the clock, to the end." "" \
        "| what | median | against | its median | ratio | aim |" "|---|---|---|---|---|---|"
      cat "$run/timings"
    fi
  } >"$new"
  mkdir -p "$(dirname "$table")"
  mv "$new" "$table"
}

# commit: what is tested; a copy without git has it from the pack.
commit() { git -C "$root" -c safe.directory="$root" describe --always --dirty 2>/dev/null || cat "$run/commit" 2>/dev/null || echo unknown; }

end_gpu() {
  write_table
  if [[ -n ${OUT:-} && -d ${OUT:-} ]]; then cp -r "$run/log" "$OUT/"; fi
  say "$(grep -c '|passed|' "$run/checks" || true) passed, $(grep -c '|skipped|' "$run/checks" || true) skipped, $failures failed, in $(total) s; the table: $table"
  ((failures == 0))
}

# ---- build ----

gpu_build() {
  check "unpack, or build what pack would" 300 unpack
  check "build the CUDA backend" 300 build_backend
  check "the machine" 60 describe_machine
}

# Tests find the CPU backend in build/lib; one that was built here stays.
unpack() {
  if [[ -s $packed/pack.tar.xz ]]; then
    tar -C "$run" -xJf "$packed/pack.tar.xz" || python3 -m tarfile -e "$packed/pack.tar.xz" "$run"
    if [[ ! -s $root/build/lib/libcredence_cpu.so ]]; then
      mkdir -p "$root/build/lib"
      cp "$run/lib-cpu/libcredence_cpu.so" "$root/build/lib/"
    fi
    say "detail: packed at $(cat "$run/commit")"
    return
  fi
  # shellcheck source=ci/lib/setup.sh
  source "$root/ci/lib/setup.sh"
  # shellcheck source=ci/lib/build.sh
  source "$root/ci/lib/build.sh"
  set_up_environment
  have go || { say "no build/gpu/pack.tar.xz (ci/gpu pack makes it, on a machine with Go), and no Go here"; return 1; }
  build_cpu
  pack_binaries "$run/bin"
}

# For the device that is here alone, which halves the time.
build_backend() {
  local begun arch
  begun=$(now)
  if $emulated; then
    configure "$root/build" -DCREDENCE_TESTS=ON
    cmake --build "$root/build"
  else
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | sed -n '1s/\.//p')
    cmake -S "$root" -B "$run/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCREDENCE_CPU=OFF -DCREDENCE_CUDA=ON -DCREDENCE_EMULATOR=OFF \
      -DCREDENCE_WERROR=ON -DCMAKE_CUDA_COMPILER="$(command -v nvcc)" -DCMAKE_CUDA_ARCHITECTURES="$arch-real"
    cmake --build "$run/build" --target credence_cuda abi_test backend_test ops_test gpu_peers lost_test
    mkdir -p "$run/lib"
    cp "$run/build/lib/libcredence_cuda.so" "$run/lib/"
  fi
  say "detail: $(seconds $(($(now) - begun))) s$($emulated || printf ', sm_%s, nvcc %s' "$arch" "$(nvcc --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')")"
}

describe_machine() {
  {
    say "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | sed -n 1p), $(nproc) processors, $(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo)." ""
    if ! $emulated; then nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader; fi
    printf 'device 1\n' | "$peers"
  } | tee "$run/machine"
  CREDENCE_DEVICE=cuda "$run/bin/credence" devices | tee "$run/devices"
  grep -q '^Chosen: *cuda ' "$run/devices" # strict: nothing else is taken
}

# ---- check ----

gpu_check() {
  check "abi_test" 60 "$tests/abi_test" "$cuda"
  check "backend_test" 120 "$tests/backend_test" "$cuda"
  check "ops_test" 120 "$tests/ops_test" "$cuda" "$rounds"
  check "a lost device is told, and stays lost" 60 "$lost" "$cuda"
  check "compliance: every operation against its float64 reference" 180 suite runtime '^TestCompliance$/^cuda$' 300
  check "graphs, single operations and two runs: the same bits" 180 suite runtime '^TestGraphsGiveTheSameBits$' 300
  check "1,000 runtimes opened and closed" 120 suite runtime '^TestOpeningAndClosingLeavesNothingOnAGPU$' 0
  check "Prob-PSENN trains and predicts there as on the CPU" 180 end_to_end
  check "models/mlp: ten training steps as on the CPU" 60 suite models/mlp '^TestTenStepsOnAGPU$' 0
  check "models/probpsenn: ten training steps as on the CPU" 60 suite models/probpsenn '^TestTenStepsOnAGPU$' 5
  check "models/sdm: a training as on the CPU, the same matches" 60 suite models/sdm '^TestTrainingOnAGPU$' 0
  check "models/sparse: the logits of Hugging Face transformers" 60 suite models/sparse '^TestLogitsOnAGPU$' 6
}

# suite PACKAGE PATTERN LEAST: tests of a package by their packed binary, where they expect to be run; none may be skipped,
# and at least so many subtests must have run.
suite() {
  local name ran
  name=$(basename "$1")
  cd "$root/$1"
  "$run/bin/$name.test" -test.v -test.timeout 10m -test.run "$2"  >"$run/log/suite-$name.txt" 2>&1 || {
    grep -aE -A12 -- '--- FAIL|^panic|^FAIL' "$run/log/suite-$name.txt" | head -n 60
    return 1
  }
  if grep -aE -A2 -- '^ *--- SKIP' "$run/log/suite-$name.txt"; then return 1; fi
  ran=$(grep -acE -- '^ *--- PASS' "$run/log/suite-$name.txt" || true)
  if ((ran == 0)); then say "no test of $1 matches $2: was build/gpu packed from these files?"; return 1; fi
  say "detail: $ran tests"
  ((ran > $3))
}

# end_to_end: a model trained on the GPU and one trained on the CPU are as good, and the first answers alike on both. The
# pictures are those that it was trained on: this is about devices.
end_to_end() {
  local device work=$run/digits accuracy=()
  if $emulated; then skip "training takes hours on the emulator"; fi
  cp "$work/t10k-images-idx3-ubyte.gz" "$work/train-images-idx3-ubyte.gz"
  cp "$work/t10k-labels-idx1-ubyte.gz" "$work/train-labels-idx1-ubyte.gz"
  for device in cuda cpu; do
    "$run/bin/credence" train probpsenn --device $device --data "$work" --pretrain-epochs 1 --epochs 3 --out "$run/$device.safetensors"
  done
  for device in cuda,cuda cuda,cpu cpu,cpu; do
    "$run/bin/credence" evaluate --device "${device#*,}" --model "$run/${device%,*}.safetensors" --data "$work" --json "$run/evaluation.json"
    accuracy+=("$(grep -m 1 -oE '"accuracy": *[0-9.]+' "$run/evaluation.json" | grep -oE '[0-9.]+$')")
  done
  say "detail: accuracy ${accuracy[0]}; the same model on the CPU ${accuracy[1]}; trained on the CPU ${accuracy[2]}"
  awk -v a="${accuracy[0]}" -v b="${accuracy[1]}" -v c="${accuracy[2]}" \
    'BEGIN { exit !(a > .9 && c > .9 && a - b < .001 && b - a < .001 && a - c < .02 && c - a < .02) }'
}

# ---- sanitize ----

gpu_sanitize() {
  local tool
  for tool in memcheck racecheck initcheck synccheck; do
    check "compute-sanitizer $tool: operations" 90 sanitized $tool "$tests/ops_test" "$cuda" 2
    check "compute-sanitizer $tool: the backend" 60 sanitized $tool "$tests/backend_test" "$cuda"
  done
}

sanitized() {
  local tool=$1 options=()
  shift
  if $emulated; then
    "$@"
    skip "the emulator has no compute-sanitizer; the command ran without it"
  fi
  have compute-sanitizer || PATH=$PATH:/usr/local/cuda/bin
  have compute-sanitizer || skip "no compute-sanitizer in PATH or /usr/local/cuda/bin"
  if [[ $tool == memcheck ]]; then options=(--leak-check full); fi
  compute-sanitizer --tool "$tool" "${options[@]}" --error-exitcode 9 "$@" | tee "$run/log/sanitizer"
  say "detail: $(sed -n 's/^=* *\(ERROR SUMMARY.*\|RACECHECK SUMMARY.*\|LEAK SUMMARY.*\)/\1/p' "$run/log/sanitizer" | paste -sd ' ')"
}

# ---- bench ----

gpu_bench() {
  check "timing: ceilings" 60 timing runtime.test TestBenchGPUCeilings
  check "timing: feed-forward blocks" 120 timing runtime.test TestBenchGPUFFN
  check "timing: matching" 120 timing runtime.test TestBenchGPUMatch
  check "timing: training of Prob-PSENN" 120 timing_probpsenn
  check "timing: submissions" 60 timing runtime.test TestBenchGPUSubmit
  check "timing: where the GPU begins to pay" 90 timing runtime.test TestBenchGPUCrossover
}

# keep_rows: rows of the table go there; other lines that are not Go's own are said as the detail.
keep_rows() {
  tee "$run/log/rows" | { grep '^|' >>"$run/timings" || true; }
  say "detail: $(grep -vE '^\||^(===|---|ok|PASS)|level=|^$' "$run/log/rows" | paste -sd ' ')"
  cat "$run/log/rows"
}

timing() {
  cd "$root/runtime"
  BENCH_PEERS=$peers BENCH_TORCH=$(torch_command) "$run/bin/$1" -test.v -test.count 1 -test.run "^$2\$" -credence.bench "${tiny[@]}" | keep_rows
}

torch_command() { if python3 -c 'import torch' 2>/dev/null; then echo "python3 $root/ci/bench/gpu_torch.py $torch"; fi; }

timing_probpsenn() {
  local quick=()
  if $emulated; then quick=(--quick); fi
  python3 ci/bench/probpsenn.py "$run/bin/probpsenn.test" --device cuda --torch-device $torch "${quick[@]}" | keep_rows
}
