# shellcheck shell=bash
# checks.sh: the steps of ci/test that are more than one command. Each runs in the repository's root with errexit on and
# its output in a log; `skip REASON` ends a step that cannot run on this machine. Sourced after common.sh, setup.sh and
# build.sh.

# sources PATTERN...: our files of these names, without git, so that an unpacked archive can be checked too.
sources() {
  local names=() pattern
  for pattern in "$@"; do names+=(-o -name "$pattern"); done
  find . \( -path './.*' -o -path './build*' \) -prune -o -type f \( "${names[@]:1}" \) -print0
}

# none MEANING COMMAND...: fails where the command prints anything, and says what that means.
none() {
  local meaning=$1 found
  shift
  found=$("$@")
  if [[ -z $found ]]; then return; fi
  printf '%s\n%s\n' "$found" "$meaning"
  return 1
}

# matching ARGUMENT...: grep, for which finding nothing is no failure.
matching() { grep "$@" || [[ $? -eq 1 ]]; }

gofmt_list() { sources '*.go' | xargs -0 gofmt -l; }

check_gofmt() { none "These files are not formatted: run gofmt -w on them." gofmt_list; }

check_clang_format() {
  local formatter
  formatter=$(clang_format)
  [[ -n $formatter ]] || skip "no clang-format 14"
  sources '*.c' '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 "$formatter" --dry-run -Werror
}

scripts=(.ci/run ci/chroot ci/cuda ci/demo ci/gpu ci/test ci/bench/run ci/bench/*.sh)

check_scripts() {
  local script
  for script in "${scripts[@]}"; do bash -n "$script"; done
  have shellcheck || skip "no shellcheck; syntax only"
  shellcheck -x -a "${scripts[@]}"
}

check_tidy() {
  go mod tidy -diff
  cd examples/service && go mod tidy -diff
}

run_ctest() {
  local directory=$1
  shift
  ctest --test-dir "$directory" --output-on-failure --no-tests=error -j "$jobs" "$@"
}

# functions_of LIBRARY: what it exports, one name per line, versions cut off. The linker's own marks are not exports.
functions_of() {
  nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | grep -vxE '_(init|fini|edata|end|_bss_start)' | sort || true
}

# same_lines EXPECTED FOUND WHAT: fails with the difference.
same_lines() {
  diff --label "expected $3" --label "found" -u <(printf '%s\n' "$1") <(printf '%s\n' "$2")
}

# undefined_of LIBRARY: what it wants from other libraries, one name per line, versions cut off.
undefined_of() { nm -D --undefined-only "$1" | awk '{ sub(/@.*/, "", $2); print $2 }' | sort; }

# check_undefined LIBRARY FILE...: every undefined symbol of the library must match a pattern of the files.
check_undefined() {
  local library=$1
  shift
  undefined_of "$library" >"$logs/undefined"
  [[ -s $logs/undefined ]]
  none "$library uses these symbols, which $1 does not allow." \
    matching -vxE -f <(sed -E 's/ *#.*//; /^$/d' "$@") "$logs/undefined"
}

# A kernel that starts to print, to end the process or to read the environment shows here. (That a backend exports one
# function is a test of CTest.)
check_backend_symbols() {
  check_undefined build/lib/libcredence_cpu.so ci/undefined-symbols.txt
  grep -q 'without nvcc' build/lib/libcredence_cuda.so ||
    skip "checked the CPU backend only: the CUDA backend contains NVIDIA's runtime, which has habits of its own"
  check_undefined build/lib/libcredence_cuda.so ci/undefined-symbols.txt ci/undefined-symbols-cuda.txt
}

# The C library is installed as a packager would, and used from there.
prefix=$root/build/prefix

build_library() {
  build_native -DCREDENCE_FFI=ON
  rm -rf "$prefix"
  cmake --install build --prefix "$prefix"
  local installed=$prefix/lib/libcredence.so
  same_lines "$(grep -oE '\bcredence_[a-z_]+\(' ffi/credence.h | tr -d '(' | sort -u)" "$(functions_of "$installed")" \
    "exports of libcredence.so: the functions of credence.h"
  none "libcredence.so must not need NVML: it would load nowhere without a driver." \
    matching -i nvml <(undefined_of "$installed")
}

client_devices() { printf '%s\n' go cpu; }

# What the clients must get, from Go itself.
expected=$root/build/expected

build_expected() {
  go build -o build/expect ./ffi/test/expect
  # shellcheck disable=SC2046 # a word per device
  CREDENCE_BACKEND_DIR=$root/build/lib build/expect "$expected" $(client_devices)
}

check_client_pkg_config() {
  local device
  export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
  # shellcheck disable=SC2046 # pkg-config prints several words
  gcc -std=c11 -Wall -Wextra -Werror -o build/client ffi/test/client.c $(pkg-config --cflags --libs credence) -pthread
  for device in $(client_devices); do LD_LIBRARY_PATH=$prefix/lib build/client "$device" "$expected"; done
}

check_client_cmake() {
  cmake -S ffi/test -B build/client-cmake -G Ninja -DCMAKE_PREFIX_PATH="$prefix"
  cmake --build build/client-cmake
  build/client-cmake/client go "$expected"
}

check_client_python() {
  python3 -c 'import ctypes' || skip "no python3 with ctypes"
  local device
  for device in $(client_devices); do python3 ffi/test/client.py "$prefix/lib/libcredence.so" "$device" "$expected"; done
}

# configure_sanitized DIRECTORY SANITIZERS: little optimisation, which keeps reports readable and the build short.
configure_sanitized() {
  configure "$1" -DCREDENCE_SANITIZE="$2" -DCMAKE_C_FLAGS_RELEASE="-O1 -g1" -DCMAKE_CXX_FLAGS_RELEASE="-O1 -g1" \
    -DCREDENCE_FAULTS=ON -DCREDENCE_CUDA=OFF
}

check_memory() {
  local directory=build/sanitize-memory
  configure_sanitized $directory address,undefined
  cmake --build $directory
  run_ctest $directory
}

check_threads() {
  local directory=build/sanitize-threads
  configure_sanitized $directory thread
  cmake --build $directory --target pool_test stream_test
  run_ctest $directory -R '^(pool|stream)$'
}

check_arm64_go() {
  GOARCH=arm64 CGO_ENABLED=0 go vet ./...
  GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./cmd/credence
}

# The objects only: linking would need an arm64 OpenBLAS.
check_arm64_native() {
  have aarch64-linux-gnu-gcc || skip "no aarch64-linux-gnu-gcc"
  local directory=build/arm64 objects
  configure $directory -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCREDENCE_WERROR=ON \
    -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCREDENCE_CUDA=OFF -DCREDENCE_TESTS=OFF
  mapfile -t objects < <(ninja -C $directory -t targets all | sed -n 's/: C_COMPILER.*//p')
  ((${#objects[@]} > 20))
  ninja -C $directory "${objects[@]}"
}

# Every variable that the runtime knows stands in README's table, and no other.
check_readme() {
  build/credence env --json | grep -oE '"name": *"[A-Z_]+"' | grep -oE 'CREDENCE_[A-Z_]+' | sort >"$logs/variables"
  [[ -s $logs/variables ]]
  diff -u --label README.md --label "credence env" <(grep -oE '^. .CREDENCE_[A-Z_]+. ' README.md | grep -oE 'CREDENCE_[A-Z_]+' | sort) "$logs/variables"
}

# fuzz_each TIME: every fuzz test of the repository for that long.
fuzz_each() {
  local package target found=0
  for package in $(go list ./...); do
    for target in $(go test -list '^Fuzz' "$package" | matching '^Fuzz'); do
      go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 1s "$package"
      found=$((found + 1))
    done
  done
  say "$found fuzz tests"
}

check_example() { cd examples/service && go vet ./... && go test ./...; }
