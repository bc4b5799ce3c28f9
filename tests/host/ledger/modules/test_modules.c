#include "tests/testing.h"

#include "host/ledger/modules/modules.h"

#include "host/base/banned.h"

START_TEST(every_module_is_whole) {
  const deai_ledger_module *module;
  uint32_t count = 0;
  ck_assert_ptr_null(deai_modules_find(deai_str_of("bank/1")));
  ck_assert_ptr_null(deai_modules_find(deai_str_of("")));
  for (; (module = deai_modules_at(count)) != NULL; count++) {
    ck_assert_ptr_eq(deai_modules_find(deai_str_of(module->id)), module);
    ck_assert_uint_eq(module->size, sizeof *module);
    ck_assert_uint_ge(module->rules, 1);
    ck_assert(module->genesis != NULL);
    ck_assert(module->check != NULL);
    ck_assert(module->apply != NULL);
    ck_assert_ptr_nonnull(module->tables[0].name);
  }
  ck_assert_uint_eq(count, 4);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("modules");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, every_module_is_whole);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
