#include "plugins/compute/lm/keep.h"

#include "tests/testing.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

static char err[512];

static void path_of(char *out, size_t cap) {
  (void)snprintf(out, cap, "%s/models", testing_folder());
}

static void put(const void *bytes, size_t len) {
  char path[4200];
  path_of(path, sizeof path);
  FILE *file = fopen(path, "w");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
  ck_assert_int_eq(fclose(file), 0);
}

static int32_t get(lm_cid *cids, uint32_t *count) {
  return lm_keep_read(testing_folder(), cids, LM_KEEP_MAX, count, err, sizeof err);
}

START_TEST(damaged_lists_are_refused) {
  lm_cid cids[LM_KEEP_MAX];
  uint32_t count = 9;
  put("", 0);
  ck_assert_int_eq(get(cids, &count), DEAI_EINVAL);
  ck_assert_uint_eq(count, 0);
  put("junk", 4);
  ck_assert_int_eq(get(cids, &count), DEAI_EINVAL);
  put("\xa1\x66models\x81\x01", 10);
  ck_assert_int_eq(get(cids, &count), DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(err, "models"));
}
END_TEST

START_TEST(a_missing_folder_and_too_many_are_told) {
  lm_cid cids[LM_KEEP_MAX + 1] = {{.len = 0}};
  ck_assert_int_eq(lm_keep_write("/nonexistent/folder", cids, 0, err, sizeof err), DEAI_EIO);
  ck_assert_ptr_nonnull(strstr(err, "/nonexistent/folder/models"));
  ck_assert_int_eq(lm_keep_write(testing_folder(), cids, LM_KEEP_MAX + 1, err, sizeof err),
                   DEAI_EINVAL);
}
END_TEST

START_TEST(a_list_comes_back) {
  lm_cid in[LM_KEEP_MAX];
  lm_cid out[LM_KEEP_MAX];
  char path[4200];
  uint32_t count = 9;
  path_of(path, sizeof path);
  (void)unlink(path);
  ck_assert_int_eq(get(out, &count), DEAI_OK); /* no file is no model */
  ck_assert_uint_eq(count, 0);
  for (uint32_t i = 0; i < LM_KEEP_MAX; i++) {
    uint8_t bytes[36] = {1, 0x70, 0x12, 0x20, (uint8_t)i};
    ck_assert_int_eq(lm_cid_of(deai_bytes_of(bytes, sizeof bytes), &in[i]), DEAI_OK);
  }
  for (uint32_t n = LM_KEEP_MAX; n > 0; n /= 2) { /* shorter lists replace longer ones */
    ck_assert_msg(lm_keep_write(testing_folder(), in, n, err, sizeof err) == DEAI_OK, "%s", err);
    ck_assert_int_eq(get(out, &count), DEAI_OK);
    ck_assert_uint_eq(count, n);
    for (uint32_t i = 0; i < n; i++)
      ck_assert(lm_cid_same(&in[i], &out[i]));
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("keep");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, damaged_lists_are_refused);
  tcase_add_test(tests, a_missing_folder_and_too_many_are_told);
  tcase_add_test(tests, a_list_comes_back);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
