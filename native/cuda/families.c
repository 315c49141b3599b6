/* Gathers the op families' tables. */
#include <string.h>

#include "cuda_families.h"
#include "device.h"

#define DECLARE(family) extern const cr_op_row cu_family_##family[];
CU_FAMILIES(DECLARE)

void cu_families(const cr_op_row *rows[CREDENCE_OP_LIMIT]) {
#define TABLE(family) cu_family_##family,
  static const cr_op_row *const families[] = {CU_FAMILIES(TABLE) NULL};
  memset(rows, 0, CREDENCE_OP_LIMIT * sizeof *rows);
  for (const cr_op_row *const *family = families; *family != NULL; family++)
    for (const cr_op_row *row = *family; row->run != NULL; row++) rows[row->opcode] = row;
}
