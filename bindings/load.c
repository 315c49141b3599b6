// clang-format off
//go:build cgo && unix

// clang-format on

/* load.c: dlopen and the handshake. */
#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "forward.h"

static void say(credence_error *err, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void say(credence_error *err, int32_t code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(err->msg, sizeof err->msg, format, args);
  va_end(args);
  err->code = code;
  err->native_code = 0;
}

/* dlopen's own words, without the path that the Go side puts in front anyway. */
static void say_dlerror(credence_error *err, const char *path) {
  const char *text = dlerror();
  if (text == NULL) text = "the dynamic linker gives no reason";
  size_t n = strlen(path);
  if (strncmp(text, path, n) == 0 && text[n] == ':') {
    text += n + 1;
    while (*text == ' ') text++;
  }
  say(err, CREDENCE_UNSUPPORTED, "%s", text);
}

/* Every entry of the table at ABI 1.0. A later minor may add entries, which are then optional. */
#define ENTRIES(X) \
  X(device_count)  \
  X(device_open)   \
  X(device_close)  \
  X(device_info)   \
  X(set_option)    \
  X(buffer_alloc)  \
  X(buffer_wrap)   \
  X(buffer_free)   \
  X(buffer_host)   \
  X(buffer_write)  \
  X(buffer_read)   \
  X(buffer_copy)   \
  X(op_supported)  \
  X(plan_open)     \
  X(plan_close)    \
  X(stream_open)   \
  X(stream_close)  \
  X(stream_submit) \
  X(stream_sync)   \
  X(stream_cancel) \
  X(stream_clock)

#define LAST_ENTRY stream_clock
#define TABLE_BYTES (offsetof(credence_backend, LAST_ENTRY) + sizeof(((credence_backend *)0)->LAST_ENTRY))

/* Nothing beyond struct_size and abi may be read before both are known to be right. */
static int handshake(const credence_backend *b, credence_error *err) {
  if (b == NULL) {
    say(err, CREDENCE_INTERNAL, "credence_backend_entry returned no table");
    return 0;
  }
  if (b->abi >> 16 != CREDENCE_ABI_MAJOR) {
    say(err, CREDENCE_UNSUPPORTED, "ABI major %u, this program speaks %u", b->abi >> 16, CREDENCE_ABI_MAJOR);
    return 0;
  }
  if (b->struct_size < TABLE_BYTES) {
    say(err, CREDENCE_UNSUPPORTED, "struct_size too small: a table of %u bytes, ABI %u.0 has %zu", b->struct_size,
        CREDENCE_ABI_MAJOR, TABLE_BYTES);
    return 0;
  }
  if (b->name == NULL || b->build == NULL) {
    say(err, CREDENCE_INTERNAL, "null entry in the table: %s", b->name == NULL ? "name" : "build");
    return 0;
  }
#define CHECK(entry)                                                 \
  if (b->entry == NULL) {                                            \
    say(err, CREDENCE_INTERNAL, "null entry in the table: " #entry); \
    return 0;                                                        \
  }
  ENTRIES(CHECK)
#undef CHECK
  return 1;
}

const credence_backend *crb_load(const char *path, credence_error *err) {
  dlerror();
  /* RTLD_NOW: a missing dependency is an error here, not a crash in the middle of a prediction. RTLD_LOCAL: every
   * backend exports the same symbol. */
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    say_dlerror(err, path);
    return NULL;
  }
  /* A refused library stays loaded too: its constructors may have left threads or handlers behind. */
  void *symbol = dlsym(library, "credence_backend_entry");
  if (symbol == NULL) {
    say(err, CREDENCE_UNSUPPORTED, "not a Credence backend: symbol missing (credence_backend_entry)");
    return NULL;
  }
  const credence_backend *(*entry)(void);
  memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object to a function pointer */
  const credence_backend *table = entry();
  return handshake(table, err) ? table : NULL;
}

const char *crb_self(uintptr_t *address) {
  const char *(*self)(uintptr_t *) = crb_self;
  void *p;
  memcpy(&p, &self, sizeof p);
  *address = (uintptr_t)p;
  Dl_info info;
  return dladdr(p, &info) != 0 ? info.dli_fname : NULL;
}
