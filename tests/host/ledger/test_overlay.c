#include "tests/testing.h"

#include "host/ledger/overlay.h"

#include <stdlib.h>

#include "host/base/banned.h"

static deai_bytes text(const char *value) {
  return deai_bytes_of(value, strlen(value));
}

START_TEST(rollback_restores_every_value) {
  deai_overlay *overlay = deai_overlay_new();
  ck_assert_ptr_null(deai_overlay_find(overlay, 1, text("a")));
  ck_assert_int_eq(deai_overlay_set(overlay, 1, 0, text("a"), DEAI_OVERLAY_SET, text("one")),
                   DEAI_OK);
  uint64_t mark = deai_overlay_mark(overlay);
  ck_assert_int_eq(deai_overlay_set(overlay, 1, 0, text("a"), DEAI_OVERLAY_SET, text("two")),
                   DEAI_OK);
  ck_assert_int_eq(deai_overlay_set(overlay, 1, 0, text("a"), DEAI_OVERLAY_GONE, text("")),
                   DEAI_OK);
  ck_assert_int_eq(deai_overlay_set(overlay, 2, 0, text("a"), DEAI_OVERLAY_SET, text("x")),
                   DEAI_OK);
  deai_overlay_rollback(overlay, mark);
  const deai_overlay_entry *entry = deai_overlay_find(overlay, 1, text("a"));
  ck_assert_ptr_nonnull(entry);
  ck_assert_int_eq(deai_bytes_eq(entry->value, text("one")), 1);
  ck_assert_uint_eq(deai_overlay_find(overlay, 2, text("a"))->kind, DEAI_OVERLAY_NONE);
  deai_overlay_rollback(overlay, 0);
  ck_assert_uint_eq(deai_overlay_find(overlay, 1, text("a"))->kind, DEAI_OVERLAY_NONE);
  deai_overlay_clear(overlay);
  ck_assert_uint_eq(deai_overlay_count(overlay), 0);
  ck_assert_ptr_null(deai_overlay_find(overlay, 1, text("a")));
  deai_overlay_free(overlay);
}
END_TEST

START_TEST(sorted_by_table_bucket_and_key) {
  deai_overlay *overlay = deai_overlay_new();
  const deai_overlay_entry **list = NULL;
  uint64_t count;
  for (uint32_t i = 0; i < 5000; i++) {
    uint32_t mixed = i * 2654435761u;
    ck_assert_int_eq(deai_overlay_set(overlay, mixed % 3, mixed % 7, deai_bytes_of(&mixed, 4),
                                      i % 5 == 0 ? DEAI_OVERLAY_GONE : DEAI_OVERLAY_SET,
                                      deai_bytes_of(&i, 4)),
                     DEAI_OK);
  }
  ck_assert_int_eq(deai_overlay_sorted(overlay, DEAI_OVERLAY_ALL, &list, &count), DEAI_OK);
  ck_assert_uint_eq(count, 5000);
  for (uint64_t i = 1; i < count; i++) {
    const deai_overlay_entry *a = list[i - 1], *b = list[i];
    ck_assert(
        a->table < b->table || (a->table == b->table && a->bucket < b->bucket) ||
        (a->table == b->table && a->bucket == b->bucket && memcmp(a->key.ptr, b->key.ptr, 4) < 0));
  }
  free(list);
  ck_assert_int_eq(deai_overlay_sorted(overlay, 1, &list, &count), DEAI_OK);
  ck_assert_uint_gt(count, 1000);
  for (uint64_t i = 0; i < count; i++)
    ck_assert_uint_eq(list[i]->table, 1);
  free(list);
  deai_overlay_free(overlay);
  deai_overlay_free(NULL);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("overlay");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, rollback_restores_every_value);
  tcase_add_test(tests, sorted_by_table_bucket_and_key);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
