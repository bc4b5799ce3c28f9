/* fetch through the plug-in: members that have, lack, lie, are busy or say nothing. */
#include "tests/plugins/storage/blocks/carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define MIB (UINT64_C(1) << 20)

/* begin starts the plug-in with members of the kinds given and a source that they share. */
static void begin(carrier *fix, bool in_child, const member_kind *kinds, uint32_t count) {
  *fix = (carrier){.source = store_at("source"), .member_count = count};
  for (uint32_t i = 0; i < count; i++)
    fix->members[i] = kinds[i];
  carrier_begin(fix, "plug", in_child);
}

static void end(carrier *fix) {
  carrier_end(fix);
  store_end(fix->source);
}

/* complete opens the plug-in's store and expects every block of cid there. */
static void complete(const blocks_cid *cid, uint64_t size) {
  blocks_stat stat;
  blocks_store *store = store_at("plug");
  ck_assert_int_eq(blocks_store_stat(store, cid, &stat, NULL), DEAI_OK);
  ck_assert_uint_eq(stat.have, stat.blocks);
  if (size > 0) ck_assert_uint_eq(stat.size, size);
  store_end(store);
}

static void usage_of_plug(blocks_usage *usage) {
  blocks_store *store = store_at("plug");
  ck_assert_int_eq(blocks_store_usage(store, usage), DEAI_OK);
  store_end(store);
}

START_TEST(names_the_block_that_nobody_has) {
  static const member_kind kinds[] = {MEMBER_EMPTY, MEMBER_EMPTY};
  carrier fix;
  char text[256];
  begin(&fix, _i == 1, kinds, 2);
  blocks_cid cid = cid_of_text("nobody");
  asker who = ask_cid(&fix, "fetch", &cid, DEAI_ENOTFOUND);
  ck_assert_int_gt(blocks_cid_text(&cid, 0, text, sizeof text), 0);
  ck_assert_ptr_nonnull(strstr(who.why, text));
  ck_assert_uint_eq(fix.asked[0], 1);
  ck_assert_uint_eq(fix.asked[1], 1);
  ask_free(&who);
  fix.member_count = 0;
  who = ask_cid(&fix, "fetch", &cid, DEAI_ENOTFOUND);
  ask_free(&who);
  end(&fix);
}
END_TEST

START_TEST(a_liar_is_found_out_and_not_asked_again) {
  static const member_kind kinds[] = {MEMBER_LIAR, MEMBER_EMPTY, MEMBER_GOOD};
  carrier fix;
  deai_blocks_progress progress;
  begin(&fix, _i == 1, kinds, 3);
  blocks_cid cid = import_seed(fix.source, "f", 9 * MIB + 5, false).cid;
  asker who = ask_cid(&fix, "fetch", &cid, DEAI_OK);
  ck_assert_int_eq(deai_decode(&deai_blocks_progress_table, blocks_buf_bytes(&who.first), &progress,
                               NULL, NULL, 0),
                   DEAI_OK);
  ck_assert_uint_le(progress.done, progress.of);
  ask_free(&who);
  ck_assert_uint_eq(fix.asked[0], 1);  /* the root: everything else comes later */
  ck_assert_uint_le(fix.asked[1], 20); /* asked first no more after a few misses */
  ck_assert_uint_ge(fix.asked[2], 11);
  ck_assert_uint_le(fix.open_max, 16);
  who = ask_cid(&fix, "open", &cid, DEAI_OK);
  ck_assert_int_ge(who.attachment, 0);
  ask_free(&who);
  end(&fix);
  complete(&cid, 9 * MIB + 5);
  blocks_usage usage;
  usage_of_plug(&usage);
  ck_assert_uint_eq(usage.files, 1); /* straight into files/ */
  ck_assert_uint_lt(usage.bytes, 10 * MIB);
}
END_TEST

START_TEST(only_liars_is_an_error) {
  static const member_kind kinds[] = {MEMBER_LIAR};
  carrier fix;
  begin(&fix, _i == 1, kinds, 1);
  blocks_cid cid = import_seed(fix.source, "f", 5000, false).cid;
  asker who = ask_cid(&fix, "fetch", &cid, DEAI_EVERIFY);
  ask_free(&who);
  end(&fix);
  blocks_store *store = store_at("plug");
  ck_assert_int_eq(holds(store, &cid), 0);
  store_end(store);
}
END_TEST

START_TEST(directories_and_files_that_repeat) {
  static const member_kind kinds[] = {MEMBER_GOOD};
  carrier fix;
  begin(&fix, _i == 1, kinds, 1);
  uint8_t *zeros = calloc(1, MIB);
  blocks_import *import = NULL;
  blocks_import_result same;
  ck_assert_int_eq(blocks_import_begin(fix.source, &(blocks_import_options){0}, &import, NULL),
                   DEAI_OK);
  for (int i = 0; i < 24; i++)
    ck_assert_int_eq(blocks_import_write(import, deai_bytes_of(zeros, MIB), NULL), DEAI_OK);
  ck_assert_int_eq(blocks_import_finish(import, &same, NULL), DEAI_OK);
  blocks_import_end(import);
  free(zeros);
  blocks_import_entry entries[] = {
      {deai_str_of("small"), import_seed(fix.source, "s", 5, false).cid},
      {deai_str_of("middle"), import_seed(fix.source, "m", 3 * MIB, false).cid},
      {deai_str_of("large"), import_seed(fix.source, "l", 5 * MIB, false).cid},
      {deai_str_of("again"), import_seed(fix.source, "l", 5 * MIB, false).cid},
      {deai_str_of("zeros"), same.cid}};
  blocks_import_result dir;
  ck_assert_int_eq(
      blocks_import_directory(fix.source, entries, 5, &(blocks_import_options){0}, &dir, NULL),
      DEAI_OK);
  asker who = ask_cid(&fix, "fetch", &dir.cid, DEAI_OK);
  ask_free(&who);
  uint32_t asked = fix.asked[0];
  who = ask_cid(&fix, "fetch", &dir.cid, DEAI_OK); /* all here: nobody is asked */
  ask_free(&who);
  ck_assert_uint_eq(fix.asked[0], asked);
  end(&fix);
  complete(&dir.cid, 0);
  complete(&same.cid, 24 * MIB);
}
END_TEST

START_TEST(busy_members_are_asked_again) {
  static const member_kind kinds[] = {MEMBER_BUSY};
  carrier fix;
  begin(&fix, _i == 1, kinds, 1);
  blocks_cid cid = import_seed(fix.source, "b", 2 * MIB, false).cid;
  asker who = ask_cid(&fix, "fetch", &cid, DEAI_OK);
  ask_free(&who);
  end(&fix);
  complete(&cid, 2 * MIB);
}
END_TEST

START_TEST(a_cancelled_fetch_keeps_what_came) {
  static const member_kind kinds[] = {MEMBER_TIRED};
  carrier fix;
  uint8_t room[256];
  begin(&fix, _i == 1, kinds, 1);
  blocks_cid cid = import_seed(fix.source, "c", 9 * MIB, false).cid;
  deai_blocks_cid value = {.cid = blocks_cid_bytes(&cid)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_blocks_cid_table, &value, &writer, NULL, 0), DEAI_OK);
  asker who = {0};
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "fetch", deai_bytes_of(room, writer.len),
            DEAI_CALLER_CLI);
  while (fix.asked[0] < 10) { /* the root, then nine leaves: six of them stay out */
    asker other = ask_cid(&fix, "stat", &cid, DEAI_OK);
    ask_free(&other);
  }
  deai_call_cancel(who.call, DEAI_ECANCELLED);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_ECANCELLED);
  ask_free(&who);
  fix.members[0] = MEMBER_GOOD;
  uint32_t before = fix.asked[0];
  end(&fix); /* and it goes on after a restart */
  blocks_store *store = store_at("plug");
  ck_assert_int_eq(holds(store, &cid), 1);
  store_end(store);
  fix.source = store_at("source");
  fix.instance = NULL;
  fix.child = NULL;
  carrier_begin(&fix, "plug", _i == 1);
  who = ask_cid(&fix, "fetch", &cid, DEAI_OK);
  ask_free(&who);
  ck_assert_uint_le(fix.asked[0] - before, 9);
  end(&fix);
  complete(&cid, 9 * MIB);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("serve_fetch");
  TCase *tests = tcase_create("both");
  tcase_set_timeout(tests, 90);
  tcase_add_loop_test(tests, names_the_block_that_nobody_has, 0, 2);
  tcase_add_loop_test(tests, a_liar_is_found_out_and_not_asked_again, 0, 2);
  tcase_add_loop_test(tests, only_liars_is_an_error, 0, 2);
  tcase_add_loop_test(tests, directories_and_files_that_repeat, 0, 2);
  tcase_add_loop_test(tests, busy_members_are_asked_again, 0, 2);
  tcase_add_loop_test(tests, a_cancelled_fetch_keeps_what_came, 0, 2);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
