#include "plugins/compute/lm/columns.h"

#include "tests/testing.h"

#include "host/base/banned.h"

#define VOCAB 100u

struct lm_backend {
  int any;
};

struct lm_cache {
  lm_cache_head head;
};

static struct lm_backend mine;
static struct lm_backend other;

START_TEST(wrong_columns_are_refused) {
  lm_cache a = {{&mine, 8, 3}};
  lm_cache foreign = {{&other, 8, 3}};
  lm_column many[LM_COLUMNS_MAX + 1] = {{.cache = &a, .token = 1, .position = 3}};
  ck_assert(lm_columns_ok(&mine, VOCAB, many, 1));
  ck_assert(!lm_columns_ok(&mine, VOCAB, many, 0));
  ck_assert(!lm_columns_ok(&mine, VOCAB, many, LM_COLUMNS_MAX + 1));
  many[0].cache = &foreign;
  ck_assert(!lm_columns_ok(&mine, VOCAB, many, 1));
  many[0].cache = NULL;
  ck_assert(!lm_columns_ok(&mine, VOCAB, many, 1));
  many[0] = (lm_column){.cache = &a, .token = VOCAB, .position = 3};
  ck_assert(!lm_columns_ok(&mine, VOCAB, many, 1));
  many[0].token = VOCAB - 1;
  for (uint32_t position = 0; position < 9; position++) {
    many[0].position = position;
    ck_assert_int_eq(lm_columns_ok(&mine, VOCAB, many, 1), position == 3);
  }
}
END_TEST

START_TEST(each_cache_is_filled_in_its_own_order) {
  lm_cache a = {{&mine, 5, 3}};
  lm_cache b = {{&mine, 9, 0}};
  lm_column columns[] = {{.cache = &a, .position = 3},
                         {.cache = &b, .position = 0},
                         {.cache = &a, .position = 4},
                         {.cache = &b, .position = 1}};
  ck_assert(lm_columns_ok(&mine, VOCAB, columns, 4));
  lm_columns_done(columns, 4);
  ck_assert_uint_eq(a.head.length, 5);
  ck_assert_uint_eq(b.head.length, 2);
  columns[0].position = 5; /* a is full */
  ck_assert(!lm_columns_ok(&mine, VOCAB, columns, 1));
  columns[1].position = 3; /* one is left out */
  ck_assert(!lm_columns_ok(&mine, VOCAB, &columns[1], 1));
  lm_columns_truncate(&a, 7);
  ck_assert_uint_eq(a.head.length, 5);
  lm_columns_truncate(&a, 1);
  ck_assert_uint_eq(a.head.length, 1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("columns");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, wrong_columns_are_refused);
  tcase_add_test(tests, each_cache_is_filled_in_its_own_order);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
