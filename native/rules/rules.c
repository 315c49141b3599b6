/* The rules by opcode. An op of credence_ops.h without one does not link. */
#include "rules.h"

#include "core.h"

cr_rule_fn cr_op_rule(uint32_t opcode) {
  static const cr_rule_fn rules[CREDENCE_OP_LIMIT] = {
#define CREDENCE_OP(number, NAME, name) [number] = cr_rule_##name,
      CREDENCE_OPS(CREDENCE_OP)
#undef CREDENCE_OP
  };
  return opcode < CREDENCE_OP_LIMIT ? rules[opcode] : NULL;
}
