#include "plugins/compute/lm/settings.h"

#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static char err[512];

static lm_settings good(void) {
  return (lm_settings){.device = deai_str_of("c"), .queue = 8, .threads = 2};
}

static int32_t pass(const lm_settings *in, lm_settings **out) {
  uint8_t room[32768];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_msg(deai_encode(&lm_settings_table, in, &writer, err, sizeof err) == DEAI_OK, "%s",
                err);
  return lm_settings_open(deai_bytes_of(room, writer.len), out, err, sizeof err);
}

START_TEST(bytes_that_are_no_settings_are_refused) {
  lm_settings *out = NULL;
  ck_assert_int_eq(lm_settings_open(deai_bytes_of("", 0), &out, err, sizeof err), DEAI_EINVAL);
  ck_assert_int_eq(lm_settings_open(deai_bytes_of("\xa0", 1), &out, err, sizeof err), DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(err, "settings"));
  ck_assert_ptr_null(out);
  lm_settings_close(NULL);
}
END_TEST

START_TEST(limits_the_schema_cannot_say) {
  deai_str models[20];
  lm_settings_file files[20];
  lm_settings *out = NULL;
  lm_settings in = good();
  for (int i = 0; i < 20; i++) {
    models[i] = deai_str_of("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    files[i] = (lm_settings_file){.name = deai_str_of("a"), .path = deai_str_of("b")};
  }
  in.models = (deai_list){.items = models, .count = 20};
  in.files = (deai_list){.items = files, .count = 20};
  ck_assert_int_eq(pass(&in, &out), DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(err, "at most 32 models and files expected, found 40"));
  models[7] = deai_str_of("QmVersionZero");
  in.files.count = 0;
  ck_assert_int_eq(pass(&in, &out), DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(err, "QmVersionZero"));
}
END_TEST

START_TEST(the_largest_settings_fit) {
  lm_settings_file files[LM_SETTINGS_MODELS_MAX];
  lm_settings *out = NULL;
  lm_settings in = good();
  for (uint32_t i = 0; i < LM_SETTINGS_MODELS_MAX; i++)
    files[i] = (lm_settings_file){.name = deai_str_of("a"), .path = deai_str_of("b/c")};
  in.files = (deai_list){.items = files, .count = LM_SETTINGS_MODELS_MAX};
  in.context = 4096;
  in.keep = 600000;
  ck_assert_msg(pass(&in, &out) == DEAI_OK, "%s", err);
  const lm_settings_file *got = out->files.items;
  ck_assert_uint_eq(out->files.count, LM_SETTINGS_MODELS_MAX);
  ck_assert(deai_str_eq(got[31].path, deai_str_of("b/c")));
  ck_assert(deai_str_eq(out->device, deai_str_of("c")));
  ck_assert_uint_eq(out->context, 4096);
  ck_assert_uint_eq(out->keep, 600000);
  ck_assert_uint_eq(out->queue, 8);
  lm_settings_close(out);
}
END_TEST

START_TEST(the_table_is_sound) {
  ck_assert_msg(deai_table_check(&lm_settings_table, err, sizeof err) == DEAI_OK, "%s", err);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("settings");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, bytes_that_are_no_settings_are_refused);
  tcase_add_test(tests, limits_the_schema_cannot_say);
  tcase_add_test(tests, the_largest_settings_fit);
  tcase_add_test(tests, the_table_is_sound);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
