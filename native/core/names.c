/* What credence_ops.h says of each op. */
#include "core.h"

const char *cr_op_name(uint32_t opcode) {
  static const char *const names[CREDENCE_OP_LIMIT] = {
#define CREDENCE_OP(number, NAME, name) [number] = #name,
      CREDENCE_OPS(CREDENCE_OP)
#undef CREDENCE_OP
  };
  return opcode < CREDENCE_OP_LIMIT ? names[opcode] : NULL;
}

bool cr_op_in_place(uint32_t opcode) {
  static const bool in_place[CREDENCE_OP_LIMIT] = {
#define IN_PLACE(NAME) [CREDENCE_OP_##NAME] = true,
      CREDENCE_IN_PLACE_OPS(IN_PLACE)
#undef IN_PLACE
  };
  return opcode < CREDENCE_OP_LIMIT && in_place[opcode];
}
