#include "tests/testing.h"

#include "host/ledger/modules/modules.h"

#include "host/base/banned.h"

START_TEST(tables_are_sound) {
  static const deai_table *const tables[] = {
      &deai_account_rec_table, &deai_key_rec_table,     &deai_totals_rec_table,
      &deai_member_rec_table,  &deai_owner_rec_table,   &deai_entry_rec_table,
      &deai_channel_rec_table, &deai_modules_rec_table, &deai_upgrades_rec_table};
  char err[160];
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
    ck_assert_msg(deai_table_check(tables[i], err, sizeof err) == DEAI_OK, "%s", err);
}
END_TEST

START_TEST(the_largest_channel_fits_its_limits) {
  static uint8_t room[65536], arena_room[65536] __attribute__((aligned(16)));
  deai_channel_hold holds[DEAI_CHANNEL_HOLDS_MAX];
  deai_channel_job jobs[DEAI_CHANNEL_JOBS_MAX];
  deai_channel_rec rec, back;
  char err[160];
  memset(holds, 0xff, sizeof holds);
  memset(jobs, 0xff, sizeof jobs);
  memset(&rec, 0xff, sizeof rec);
  for (uint32_t i = 0; i < DEAI_CHANNEL_JOBS_MAX; i++)
    jobs[i].state = DEAI_JOB_DECIDED;
  rec.holds = (deai_list){holds, DEAI_CHANNEL_HOLDS_MAX};
  rec.jobs = (deai_list){jobs, DEAI_CHANNEL_JOBS_MAX};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_channel_rec_table, &rec, &writer, err, sizeof err), DEAI_OK);
  ck_assert_uint_lt(writer.len, DEAI_LEDGER_VALUE_MAX);
  deai_arena arena = {arena_room, 8192, 0}; /* the room that deai_rec_get takes */
  ck_assert_int_eq(deai_decode(&deai_channel_rec_table, deai_bytes_of(room, writer.len), &back,
                               &arena, err, sizeof err),
                   DEAI_OK);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("records");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, tables_are_sound);
  tcase_add_test(tests, the_largest_channel_fits_its_limits);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
