#include "garbage.h"

#include <link.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace emu {

constexpr size_t kFilled = size_t{16} << 20, kEdge = size_t{1} << 20;

void *aligned_garbage(size_t bytes, size_t align) {
  void *memory = nullptr;
  if (posix_memalign(&memory, align, bytes) != 0) return nullptr;
  if (bytes <= kFilled) {
    memset(memory, kGarbage, bytes);
  } else { /* a stream's cuBLAS workspace: to touch all of its pages would take most of the time of a short test */
    memset(memory, kGarbage, kEdge);
    memset(static_cast<char *>(memory) + bytes - kEdge, kGarbage, kEdge);
  }
  return memory;
}

namespace {

struct Search {
  uintptr_t address;
  void *start;
  size_t bytes;
};

int find(dl_phdr_info *info, size_t, void *data) {
  Search *search = static_cast<Search *>(data);
  bool holds = false;
  size_t bytes = 0;
  for (int k = 0; k < info->dlpi_phnum; k++) {
    const ElfW(Phdr) &segment = info->dlpi_phdr[k];
    const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD)
      holds = holds || (search->address >= start && search->address - start < segment.p_memsz);
    if (segment.p_type == PT_TLS) bytes = segment.p_memsz;
  }
  if (!holds) return 0;
  search->start = info->dlpi_tls_data; /* nullptr: this thread has not used any of them yet */
  search->bytes = bytes;
  return 1;
}

}  // namespace

ThreadLocals::ThreadLocals(const void *module) {
  Search search = {reinterpret_cast<uintptr_t>(module), nullptr, 0};
  dl_iterate_phdr(find, &search);
  start_ = search.start;
  bytes_ = search.bytes;
}

void ThreadLocals::fill() const {
  if (start_ != nullptr) memset(start_, kGarbage, bytes_);
}

}  // namespace emu
