# shellcheck shell=bash
# build.sh: builds the backends and the programs into build/. Sourced after common.sh.

# configure DIRECTORY OPTION...: CMake in Release; options add to it.
configure() {
  local directory=$1
  shift
  cmake -S "$root" -B "$directory" -G Ninja -DCMAKE_BUILD_TYPE=Release "$@"
}

# build_native: build/lib/libcredence_cpu.so, and libcredence_cuda.so where nvcc is.
build_native() {
  configure "$root/build" "$@"
  cmake --build "$root/build"
}

# build_programs: build/credence and build/credence-probe.
build_programs() {
  cd "$root"
  go build -o build/credence ./cmd/credence
  go build -o build/credence-probe ./cmd/credence-probe
}
