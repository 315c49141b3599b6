/* Gathers the op families' tables and chooses the instruction set at run time. */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "device.h"
#include "families.h"
#include "isas.h"

#define DECLARE(family, isa) extern const cr_op_row cr_family_##family##_##isa[];
#define DECLARE_ALL(isa) CR_FAMILIES(DECLARE, isa)
CR_ISAS(DECLARE_ALL)

#define ROWS(family, isa) cr_family_##family##_##isa,
#define TABLE(isa) static const cr_op_row *const table_##isa[] = {CR_FAMILIES(ROWS, isa) NULL};
CR_ISAS(TABLE)

/* cpuid bits count only where the operating system saves the registers, which __builtin_cpu_supports knows. */
static bool runs_here(const char *isa) {
  if (strcmp(isa, "generic") == 0) return true;
#if defined(__x86_64__)
  unsigned a, b, c = 0, d;
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_F16C) == 0) return false;
  if (strcmp(isa, "avx2") == 0) return true;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return false;
#endif
}

static const struct {
  const char *name;
  const cr_op_row *const *families;
} sets[] = {/* narrowest first */
#define SET(isa) {#isa, table_##isa},
            CR_ISAS(SET)};

#define SETS (sizeof sets / sizeof *sets)

const char *cr_isa_best(void) {
  size_t best = 0;
  for (size_t k = 0; k < SETS; k++)
    if (runs_here(sets[k].name)) best = k;
  return sets[best].name;
}

const char *cr_isa_names(char buffer[64]) {
  size_t at = sizeof "auto" - 1;
  memcpy(buffer, "auto", sizeof "auto");
  for (size_t k = 0; k < SETS; k++) {
    size_t n = strlen(sets[k].name);
    if (!runs_here(sets[k].name) || at + n + 3 > 64) continue;
    memcpy(buffer + at, ", ", 2);
    memcpy(buffer + at + 2, sets[k].name, n + 1);
    at += n + 2;
  }
  return buffer;
}

const char *cr_isa_select(const char *isa, const cr_op_row *rows[CREDENCE_OP_LIMIT]) {
  if (strcmp(isa, "auto") == 0) isa = cr_isa_best();
  for (size_t k = 0; k < SETS; k++) {
    if (strcmp(isa, sets[k].name) != 0 || !runs_here(isa)) continue;
    memset(rows, 0, CREDENCE_OP_LIMIT * sizeof *rows);
    for (const cr_op_row *const *family = sets[k].families; *family != NULL; family++)
      for (const cr_op_row *row = *family; row->run != NULL; row++)
        if (row->opcode < CREDENCE_OP_LIMIT) rows[row->opcode] = row;
    return sets[k].name;
  }
  return NULL;
}
