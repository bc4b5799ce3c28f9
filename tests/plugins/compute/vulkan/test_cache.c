#include "plugins/compute/vulkan/cache.h"

#include "plugins/compute/vulkan/vulkan.h"
#include "tests/testing.h"
#include "twin.h"

#include <stdlib.h>

#include "host/base/banned.h"

START_TEST(a_cache_beyond_the_device_is_refused) {
  if (!twin_has_device()) return;
  lm_model *model = twin_tiny(&(tiny_options){.type = 3, .seed = 1});
  lm_shape huge = *lm_model_shape(model);
  lm_backend backend = {.shape = &huge};
  lm_cache *cache = NULL;
  lm_error error = {{0}};
  huge.layers = 100;
  huge.kv_heads = 1u << 20;
  ck_assert_int_eq(lm_vk_open(NULL, 64, &backend.device, &error), DEAI_OK);
  ck_assert_int_eq(lm_vk_cache_open(&backend, 1u << 17, &cache), DEAI_ENOMEM);
  ck_assert_ptr_null(cache);
  lm_vk_cache_close(NULL);
  lm_vk_close(&backend.device);
  lm_model_close(model);
}
END_TEST

START_TEST(every_layer_has_room_for_its_records) {
  static const lm_shape shape = {.layers = 3, .kv_heads = 2, .head_dim = 64};
  lm_backend backend = {.shape = &shape};
  /* records of 128 and 64 bytes, each and a texel of scales; 7 positions; rounded up to 256 */
  ck_assert_uint_eq(lm_vk_cache_bytes(&backend, 7), 3 * ((2 * 7 * (144 + 80) + 255) / 256 * 256));
}
END_TEST

START_TEST(many_live_at_a_time) {
  lm_cache *caches[8];
  lm_error error = {{0}};
  lm_backend *backend = NULL;
  lm_backend_config config = {.threads = 0};
  if (!twin_has_device()) return;
  lm_model *model = twin_tiny(&(tiny_options){.type = 3, .seed = 1});
  ck_assert_int_eq(lm_vulkan_backend()->open(model, &config, &backend, &error), DEAI_OK);
  for (uint32_t i = 0; i < 8; i++) {
    ck_assert_int_eq(lm_vk_cache_open(backend, i + 1, &caches[i]), DEAI_OK);
    ck_assert_uint_eq(caches[i]->head.length, 0);
    ck_assert_uint_eq(caches[i]->head.positions, i + 1);
    ck_assert_uint_eq(caches[i]->memory.bytes, lm_vk_cache_bytes(backend, i + 1));
  }
  for (uint32_t i = 0; i < 8; i++)
    lm_vk_cache_close(caches[i]);
  lm_vulkan_backend()->close(backend);
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan cache");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, a_cache_beyond_the_device_is_refused);
  tcase_add_test(tests, every_layer_has_room_for_its_records);
  tcase_add_test(tests, many_live_at_a_time);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
