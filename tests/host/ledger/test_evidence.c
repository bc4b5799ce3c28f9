#include "tests/testing.h"

#include "host/ledger/evidence.h"

#include <string.h>

#include "host/base/banned.h"

START_TEST(kept_evidence_names_its_height) {
  char err[200];
  uint8_t hash[DEAI_HASH_BYTES] = {0xab};
  const char *folder = testing_folder();
  ck_assert_uint_eq(deai_evidence_height(folder), 0);
  for (uint64_t height = 12; height > 6; height -= 5)
    ck_assert_int_eq(
        deai_evidence_keep(folder, height, hash, deai_bytes_of("entry", 5), err, sizeof err),
        DEAI_OK);
  ck_assert_uint_eq(deai_evidence_height(folder), 7);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("evidence");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, kept_evidence_names_its_height);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
