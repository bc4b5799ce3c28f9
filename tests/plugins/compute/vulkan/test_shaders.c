/* The SPIR-V of the shaders: every float add, sub and mul is NoContraction, and nothing else that
   computes with floats occurs (arithmetic.md N1, N2). Numbers from the SPIR-V specification. */
#include "plugins/compute/vulkan/device.h"

#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define HEADER_WORDS  5u
#define OP_EXT_INST   12u
#define OP_EXEC_MODE  16u
#define OP_TYPE_FLOAT 22u
#define OP_DECORATE   71u
#define NO_CONTRACT   42u
#define MODE_SIGNS    4461u
#define MODE_RTE      4462u

/* What the scan of a module found. */
typedef struct findings {
  uint32_t operations;   /* float add, sub, mul */
  uint32_t contractable; /* of these, without NoContraction */
  uint32_t banned;       /* of other instructions */
  uint32_t modes;        /* of the two of N2 */
} findings;

static bool is_sum(uint32_t op) {
  return op == 129 || op == 131 || op == 133; /* OpFAdd, OpFSub, OpFMul */
}

static bool is_banned(uint32_t op) {
  return op == 109 || op == 112 ||                           /* OpConvertFToU, OpConvertUToF */
         op == 115 || op == 116 ||                           /* OpFConvert, OpQuantizeToF16 */
         op == 136 || op == 140 || op == 141 ||              /* OpFDiv, OpFRem, OpFMod */
         (op >= 142 && op <= 148) ||                         /* vectors and matrices, OpDot */
         op == 350 || op == 352 || op == 355 || op == 358 || /* subgroup sums and the like */
         op == 264 || op == 267 || op == 270 || op == 273 || /* OpGroup the same */
         op == 6035 || op == 5614 || op == 5615;             /* float atomics */
}

/* Of GLSL.std.450: absolute values, integer and float min, max and clamp, find bits. */
static bool is_allowed_call(uint32_t number) {
  return number == 4 || number == 5 || (number >= 37 && number <= 45) ||
         (number >= 73 && number <= 75);
}

static bool is_decorated(const uint32_t *words, size_t count, uint32_t id) {
  for (size_t at = HEADER_WORDS; at < count; at += words[at] >> 16)
    if ((words[at] & 0xffffu) == OP_DECORATE && words[at + 1] == id && words[at + 2] == NO_CONTRACT)
      return true;
  return false;
}

static findings scan(const uint32_t *words, size_t count) {
  findings found = {0};
  for (size_t at = HEADER_WORDS; at < count; at += words[at] >> 16) {
    uint32_t op = words[at] & 0xffffu;
    ck_assert_uint_gt(words[at] >> 16, 0);
    ck_assert_uint_le(at + (words[at] >> 16), count);
    if (is_sum(op)) {
      found.operations++;
      found.contractable += is_decorated(words, count, words[at + 2]) ? 0 : 1;
    }
    if (is_banned(op)) found.banned++;
    if (op == OP_TYPE_FLOAT && words[at + 2] != 32) found.banned++;
    if (op == OP_EXT_INST && !is_allowed_call(words[at + 4])) found.banned++;
    if (op == OP_EXEC_MODE && (words[at + 2] == MODE_RTE || words[at + 2] == MODE_SIGNS))
      found.modes += words[at + 3] == 32 ? 1 : 0;
  }
  return found;
}

/* change returns a copy of the matmul in which the first instruction `from` is made into `to`. */
static uint32_t *change(uint32_t from, uint32_t to, size_t *count_out) {
  const uint32_t *words = lm_vk_shader_code(LM_VK_MATMUL, count_out);
  uint32_t *copy = malloc(*count_out * sizeof *copy);
  ck_assert_ptr_nonnull(copy);
  memcpy(copy, words, *count_out * sizeof *copy);
  for (size_t at = HEADER_WORDS; at < *count_out; at += copy[at] >> 16) {
    if ((copy[at] & 0xffffu) != from) continue;
    if (from == OP_DECORATE && copy[at + 2] != NO_CONTRACT) continue;
    if (from == OP_EXEC_MODE && copy[at + 2] != MODE_RTE) continue;
    copy[at] = (copy[at] & 0xffff0000u) | to;
    return copy;
  }
  ck_abort_msg("no instruction %u", from);
}

START_TEST(the_scan_sees_what_is_wrong) {
  size_t count = 0;
  uint32_t *words = change(OP_DECORATE, 8, &count); /* OpLine, which says nothing */
  ck_assert_uint_eq(scan(words, count).contractable, 1);
  free(words);
  words = change(131, 136, &count);
  ck_assert_uint_eq(scan(words, count).banned, 1);
  free(words);
  words = change(133, 116, &count);
  ck_assert_uint_eq(scan(words, count).banned, 1);
  free(words);
  words = change(OP_EXEC_MODE, 8, &count);
  ck_assert_uint_eq(scan(words, count).modes, 1);
  free(words);
}
END_TEST

START_TEST(every_shader_keeps_the_rules) {
  size_t count = 0;
  const uint32_t *words = lm_vk_shader_code((lm_vk_shader)_i, &count);
  ck_assert_uint_gt(count, HEADER_WORDS);
  ck_assert_uint_eq(words[0], 0x07230203u);
  findings found = scan(words, count);
  ck_assert_uint_gt(found.operations, 0);
  ck_assert_uint_eq(found.contractable, 0);
  ck_assert_uint_eq(found.banned, 0);
  ck_assert_uint_eq(found.modes, 2);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("shaders");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, the_scan_sees_what_is_wrong);
  tcase_add_loop_test(tests, every_shader_keeps_the_rules, 0, LM_VK_SHADER_COUNT);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
