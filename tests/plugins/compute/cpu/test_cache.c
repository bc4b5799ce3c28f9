#include "plugins/compute/cpu/cache.h"

#include "pieces.h"
#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

#define DIM       PIECES_DIM
#define POSITIONS 21

/* Every score is recomputed from the heads as they were written. */
START_TEST(scores_see_each_position_where_it_was_written) {
  lm_shape shape = {.layers = 2, .kv_heads = 3, .head_dim = DIM};
  lm_cache *cache = NULL;
  lm_head keys[POSITIONS];
  lm_value values[POSITIONS];
  lm_head query;
  float scores[24];
  uint64_t seed = 4;
  uint32_t fault = 0;
  ck_assert_int_eq(lm_cache_open(NULL, &shape, POSITIONS, &cache), DEAI_OK);
  ck_assert_uint_eq(lm_cache_bytes(&shape, POSITIONS), 6u * 24 * (3 * DIM + 2 * 2 * 4));
  const lm_kv *kv = &cache->heads[4];
  pieces_head(&query, &seed);
  for (uint32_t i = 0; i < POSITIONS; i++) {
    pieces_head(&keys[i], &seed);
    pieces_value(&values[i], &seed);
    lm_cache_write_k(kv, i, &keys[i]);
    lm_cache_write_v(kv, i, &values[i]);
  }
  lm_kernels_c()->scores(&query, kv, POSITIONS, 0.125f, scores, &fault);
  for (uint32_t i = 0; i < POSITIONS; i++) {
    float sum = 0.0f;
    for (int b = 0; b < DIM / 32; b++) {
      int32_t dot = 0;
      for (int k = b * 32; k < b * 32 + 32; k++)
        dot += query.q[k] * keys[i].q[k];
      float t = (float)dot * (query.d[b] * keys[i].d[b]);
      sum = sum + t;
    }
    ck_assert(lm_bits(scores[i]) == lm_bits(lm_store(sum * 0.125f, &fault)));
  }
  float p[24] = {0};
  int32_t room[24];
  float out[DIM];
  p[13] = 1.0f; /* one position with all the weight gives back its own value, nearly */
  lm_kernels_c()->values(p, kv, POSITIONS, room, out, &fault);
  for (int k = 0; k < DIM; k++) {
    float expected = (float)values[13].q[k] * values[13].d[k / 32];
    ck_assert_double_le((double)(out[k] - expected), 1e-4);
    ck_assert_double_le((double)(expected - out[k]), 1e-4);
  }
  ck_assert_uint_eq(fault, 0);
  lm_cache_close(cache);
  lm_cache_close(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("cache");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, scores_see_each_position_where_it_was_written);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
