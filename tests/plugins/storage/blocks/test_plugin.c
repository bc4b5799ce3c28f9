/* The plug-in storage/blocks through both local carriers: methods, back-pressure, cancel, death. */
#include "tests/plugins/storage/blocks/carrier.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define MIB (UINT64_C(1) << 20)

static const uint64_t sizes[] = {0, 5, MIB + 1, 9 * MIB};

/* same compares bytes with the keystream of seed from offset (a multiple of 64) on. */
static void same(deai_bytes bytes, const char *seed, uint64_t offset) {
  uint8_t *expected = malloc((size_t)bytes.len + 1);
  ck_assert_ptr_nonnull(expected);
  keystream(seed, offset, expected, (size_t)bytes.len);
  ck_assert(bytes.len == 0 || memcmp(expected, bytes.ptr, (size_t)bytes.len) == 0);
  free(expected);
}

static blocks_cid cid_of_bytes(deai_bytes bytes) {
  blocks_cid cid;
  ck_assert_int_eq(blocks_cid_of_bytes(bytes, &cid, NULL), DEAI_OK);
  return cid;
}

static deai_blocks_stat stat_of(carrier *fix, const blocks_cid *cid) {
  deai_blocks_stat stat;
  asker who = ask_cid(fix, "stat", cid, DEAI_OK);
  ck_assert_int_eq(
      deai_decode(&deai_blocks_stat_table, blocks_buf_bytes(&who.last), &stat, NULL, NULL, 0), 0);
  ask_free(&who);
  return stat;
}

static void read_all(carrier *fix, const blocks_cid *cid, const char *seed, uint64_t size) {
  deai_blocks_read value = {.cid = blocks_cid_bytes(cid)};
  deai_blocks_read_end head;
  asker who = ask(fix, "read", &deai_blocks_read_table, &value, DEAI_OK);
  ck_assert_int_eq(
      deai_decode(&deai_blocks_read_end_table, blocks_buf_bytes(&who.first), &head, NULL, NULL, 0),
      0);
  ck_assert_uint_eq(head.kind, DEAI_BLOCKS_FILE);
  ck_assert_uint_eq(head.size, size);
  ck_assert_uint_eq(who.body.len, size);
  same(blocks_buf_bytes(&who.body), seed, 0);
  ask_free(&who);
}

static void read_range(carrier *fix, const blocks_cid *cid, const char *seed, uint64_t off,
                       uint64_t len, uint64_t expected) {
  deai_blocks_read value = {.has = DEAI_BLOCKS_READ_HAS_OFF | DEAI_BLOCKS_READ_HAS_LEN,
                            .cid = blocks_cid_bytes(cid),
                            .off = off,
                            .len = len};
  asker who = ask(fix, "read", &deai_blocks_read_table, &value, DEAI_OK);
  ck_assert_uint_eq(who.body.len, expected);
  same(blocks_buf_bytes(&who.body), seed, off);
  ask_free(&who);
}

static void open_maps(carrier *fix, const blocks_cid *cid, const char *seed, uint64_t size) {
  struct stat info;
  uint8_t byte = 0;
  asker who = ask_cid(fix, "open", cid, DEAI_OK);
  ck_assert_int_ge(who.attachment, 0);
  ck_assert_int_eq(fstat(who.attachment, &info), 0);
  ck_assert_uint_eq((uint64_t)info.st_size, size);
  ck_assert_int_lt(write(who.attachment, &byte, 1), 0);
  if (size > 0) {
    void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, who.attachment, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    same(deai_bytes_of(map, size), seed, 0);
    (void)munmap(map, (size_t)size);
  }
  ask_free(&who);
}

static void verify_clean(carrier *fix) {
  _Alignas(16) uint8_t room[4096];
  deai_arena arena = {room, sizeof room, 0};
  deai_blocks_verify_end end;
  asker who = ask(fix, "verify", NULL, NULL, DEAI_OK);
  ck_assert_int_eq(deai_decode(&deai_blocks_verify_end_table, blocks_buf_bytes(&who.last), &end,
                               &arena, NULL, 0),
                   DEAI_OK);
  ck_assert_uint_eq(end.bad.count, 0);
  ask_free(&who);
}

/* list_count walks the whole list, max CIDs at a time, and counts. */
static uint32_t list_count(carrier *fix, uint64_t max) {
  static _Alignas(16) uint8_t room[1024 * sizeof(deai_bytes)];
  uint32_t count = 0;
  blocks_buf after = {0};
  for (;;) {
    deai_arena arena = {room, sizeof room, 0};
    deai_blocks_list_end end;
    deai_blocks_list value = {.has = DEAI_BLOCKS_LIST_HAS_MAX, .max = max};
    if (after.len > 0) value.has |= DEAI_BLOCKS_LIST_HAS_AFTER;
    value.after = blocks_buf_bytes(&after);
    asker who = ask(fix, "list", &deai_blocks_list_table, &value, DEAI_OK);
    ck_assert_int_eq(deai_decode(&deai_blocks_list_end_table, blocks_buf_bytes(&who.last), &end,
                                 &arena, NULL, 0),
                     DEAI_OK);
    count += (uint32_t)end.cids.count;
    after.len = 0;
    if ((end.has & DEAI_BLOCKS_LIST_END_HAS_NEXT) != 0)
      ck_assert_int_eq(blocks_buf_add(&after, end.next.ptr, (size_t)end.next.len), DEAI_OK);
    ask_free(&who);
    if (after.len == 0) break;
  }
  blocks_buf_free(&after);
  return count;
}

START_TEST(refuses_what_is_wrong) {
  carrier fix = {0};
  asker who = {0};
  uint8_t empty = 0xa0;
  blocks_cid missing = cid_of_text("not there");
  carrier_begin(&fix, "plug", _i == 1);
  deai_blocks_cid value = {.cid = blocks_cid_bytes(&missing)};
  static const char *const methods[] = {"get", "open", "unpin", "read", "entries"};
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    who = ask_cid(&fix, methods[i], &missing, DEAI_ENOTFOUND);
    ck_assert_str_ne(who.why, "");
    ask_free(&who);
  }
  who = ask(&fix, "get", NULL, NULL, DEAI_EINVAL);
  ask_free(&who);
  who = (asker){0};
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "burn", deai_bytes_of(&empty, 1), DEAI_CALLER_CLI);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_EUNSUPPORTED);
  ask_free(&who);
  who = (asker){0};
  uint8_t room[256];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_blocks_cid_table, &value, &writer, NULL, 0), DEAI_OK);
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "open", deai_bytes_of(room, writer.len),
            DEAI_CALLER_PEER);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_ELOCALONLY);
  ask_free(&who);
  deai_blocks_add profile = {.has = DEAI_BLOCKS_ADD_HAS_PROFILE, .profile = deai_str_of("odd")};
  who = ask(&fix, "add", &deai_blocks_add_table, &profile, DEAI_EUNSUPPORTED);
  ask_free(&who);
  carrier_end(&fix);
}
END_TEST

START_TEST(what_is_added_can_be_used) {
  carrier fix = {0};
  carrier_begin(&fix, "plug", _i == 1);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    blocks_cid cid = add_seed(&fix, "a", sizes[i]);
    blocks_import_result expected = import_seed(NULL, "a", sizes[i], false);
    ck_assert_int_eq(blocks_cid_equal(&cid, &expected.cid), 1);
    deai_blocks_stat stat = stat_of(&fix, &cid);
    ck_assert_uint_eq(stat.size, sizes[i]);
    ck_assert_uint_eq(stat.blocks, expected.blocks);
    ck_assert_uint_eq(stat.have, expected.blocks);
    read_all(&fix, &cid, "a", sizes[i]);
    open_maps(&fix, &cid, "a", sizes[i]);
    asker who = ask_cid(&fix, "get", &cid, DEAI_OK);
    ck_assert_int_eq(blocks_cid_check(&cid, blocks_buf_bytes(&who.body), NULL), DEAI_OK);
    ask_free(&who);
  }
  blocks_cid large = import_seed(NULL, "a", 9 * MIB, false).cid;
  read_range(&fix, &large, "a", MIB - 64, 128, 128);
  read_range(&fix, &large, "a", 9 * MIB - 64, 1000, 64);
  read_range(&fix, &large, "a", 9 * MIB, 1, 0);
  read_range(&fix, &large, "a", 64, 0, 0);
  verify_clean(&fix);
  uint32_t count = list_count(&fix, 1024);
  ck_assert_uint_ge(count, 14);
  ck_assert_uint_eq(list_count(&fix, 3), count);
  carrier_end(&fix);
}
END_TEST

START_TEST(blocks_of_two_mebibytes_come_in_two_parts) {
  carrier fix = {0};
  blocks_cid cid;
  size_t len = DEAI_BLOCK_MAX;
  uint8_t *data = malloc(len);
  keystream("big", 0, data, len);
  blocks_cid_of_block(BLOCKS_CODEC_RAW, deai_bytes_of(data, len), &cid);
  blocks_store *store = store_at("plug");
  ck_assert_int_eq(blocks_store_put(store, &cid, deai_bytes_of(data, len), NULL), DEAI_OK);
  store_end(store);
  carrier_begin(&fix, "plug", _i == 1);
  asker who = ask_cid(&fix, "get", &cid, DEAI_OK);
  ck_assert_uint_eq(who.body.len, len);
  ck_assert_uint_eq(who.parts, 2);
  ck_assert_int_eq(memcmp(who.body.ptr, data, len), 0);
  ask_free(&who);
  free(data);
  carrier_end(&fix);
}
END_TEST

START_TEST(have_pin_and_unpin) {
  carrier fix = {0};
  carrier_begin(&fix, "plug", _i == 1);
  blocks_cid here = add_seed(&fix, "h", 70);
  blocks_cid gone = cid_of_text("gone");
  deai_bytes cids[] = {blocks_cid_bytes(&gone), blocks_cid_bytes(&here), blocks_cid_bytes(&gone)};
  deai_blocks_have value = {.cids = {cids, 3}};
  deai_blocks_have_end end;
  asker who = ask(&fix, "have", &deai_blocks_have_table, &value, DEAI_OK);
  ck_assert_int_eq(
      deai_decode(&deai_blocks_have_end_table, blocks_buf_bytes(&who.last), &end, NULL, NULL, 0),
      DEAI_OK);
  ck_assert_uint_eq(end.bits.len, 1);
  ck_assert_uint_eq(end.bits.ptr[0], 2);
  ask_free(&who);
  for (uint64_t pins = 1; pins <= 2; pins++) {
    who = ask_cid(&fix, "pin", &here, DEAI_OK);
    ask_free(&who);
    ck_assert_uint_eq(stat_of(&fix, &here).pins, pins);
  }
  for (uint64_t pins = 2; pins > 0; pins--) {
    who = ask_cid(&fix, "unpin", &here, DEAI_OK);
    ask_free(&who);
    ck_assert_uint_eq(stat_of(&fix, &here).pins, pins - 1);
  }
  who = ask_cid(&fix, "unpin", &here, DEAI_ENOTFOUND);
  ask_free(&who);
  carrier_end(&fix);
}
END_TEST

static deai_blocks_collect_end collect(carrier *fix) {
  deai_blocks_collect_end end;
  asker who = ask(fix, "collect", NULL, NULL, DEAI_OK);
  ck_assert_int_eq(
      deai_decode(&deai_blocks_collect_end_table, blocks_buf_bytes(&who.last), &end, NULL, NULL, 0),
      DEAI_OK);
  ask_free(&who);
  return end;
}

START_TEST(what_no_pin_reaches_is_collected) {
  carrier fix = {0};
  carrier_begin(&fix, "plug", _i == 1);
  blocks_cid kept = add_seed(&fix, "k", 3 * MIB);
  blocks_cid freed = add_seed(&fix, "f", 5 * MIB);
  asker who = ask_cid(&fix, "pin", &kept, DEAI_OK);
  ask_free(&who);
  deai_blocks_collect_end end = collect(&fix);
  ck_assert_uint_eq(end.kept, stat_of(&fix, &kept).blocks);
  ck_assert_uint_ge(end.freed, 6); /* five leaves and their root */
  ck_assert_uint_ge(end.bytes, 5 * MIB);
  read_all(&fix, &kept, "k", 3 * MIB);
  who = ask_cid(&fix, "open", &freed, DEAI_ENOTFOUND);
  ask_free(&who);
  end = collect(&fix);
  ck_assert_uint_eq(end.freed, 0);
  (void)add_seed(&fix, "f", 5 * MIB); /* it may come again */
  read_all(&fix, &freed, "f", 5 * MIB);
  verify_clean(&fix);
  carrier_end(&fix);
}
END_TEST

/* entries_of lists the directory cid and expects count entries. */
static void entries_of(carrier *fix, const blocks_cid *cid, uint64_t off, uint64_t len,
                       uint64_t count) {
  static _Alignas(16) uint8_t room[4096 * sizeof(deai_blocks_entry)];
  deai_arena arena = {room, sizeof room, 0};
  deai_blocks_entries_end end;
  deai_blocks_read value = {.has = DEAI_BLOCKS_READ_HAS_OFF | DEAI_BLOCKS_READ_HAS_LEN,
                            .cid = blocks_cid_bytes(cid),
                            .off = off,
                            .len = len};
  asker who = ask(fix, "entries", &deai_blocks_read_table, &value, DEAI_OK);
  ck_assert_int_eq(deai_decode(&deai_blocks_entries_end_table, blocks_buf_bytes(&who.last), &end,
                               &arena, NULL, 0),
                   DEAI_OK);
  ck_assert_uint_eq(end.dir.count, count);
  ask_free(&who);
}

static blocks_cid add_dir(carrier *fix, deai_blocks_entry *rows, uint64_t count, int32_t status) {
  deai_blocks_add value = {.has = DEAI_BLOCKS_ADD_HAS_DIR, .dir = {rows, count}};
  deai_blocks_added added;
  blocks_cid cid = {0};
  asker who = ask(fix, "add", &deai_blocks_add_table, &value, status);
  if (status == DEAI_OK) {
    ck_assert_int_eq(
        deai_decode(&deai_blocks_added_table, blocks_buf_bytes(&who.last), &added, NULL, NULL, 0),
        DEAI_OK);
    cid = cid_of_bytes(added.cid);
  }
  ask_free(&who);
  return cid;
}

START_TEST(directories_are_made_listed_and_read) {
  carrier fix = {0};
  carrier_begin(&fix, "plug", _i == 1);
  blocks_cid file = add_seed(&fix, "f", 3 * MIB);
  blocks_cid gone = cid_of_text("gone");
  deai_blocks_entry rows[] = {{blocks_cid_bytes(&file), deai_str_of("b.txt")},
                              {blocks_cid_bytes(&file), deai_str_of("a")}};
  deai_blocks_entry hostile = {blocks_cid_bytes(&file), deai_str_of("..")};
  deai_blocks_entry absent = {blocks_cid_bytes(&gone), deai_str_of("x")};
  (void)add_dir(&fix, &hostile, 1, DEAI_EINVAL);
  (void)add_dir(&fix, &absent, 1, DEAI_ENOTFOUND);
  blocks_cid dir = add_dir(&fix, rows, 2, DEAI_OK);
  deai_blocks_entry up[] = {{blocks_cid_bytes(&dir), deai_str_of("sub")}};
  blocks_cid top = add_dir(&fix, up, 1, DEAI_OK);
  entries_of(&fix, &dir, 0, 10, 2);
  entries_of(&fix, &dir, 1, 10, 1);
  entries_of(&fix, &dir, 0, 1, 1);
  entries_of(&fix, &dir, 7, 1, 0);
  deai_blocks_read value = {.has = DEAI_BLOCKS_READ_HAS_PATH,
                            .cid = blocks_cid_bytes(&top),
                            .path = deai_str_of("sub/b.txt")};
  asker who = ask(&fix, "read", &deai_blocks_read_table, &value, DEAI_OK);
  ck_assert_uint_eq(who.body.len, 3 * MIB);
  same(blocks_buf_bytes(&who.body), "f", 0);
  ask_free(&who);
  value.path = deai_str_of("sub/none");
  who = ask(&fix, "read", &deai_blocks_read_table, &value, DEAI_ENOTFOUND);
  ask_free(&who);
  who = ask_cid(&fix, "read", &top, DEAI_OK); /* a directory has a head and no bytes */
  ck_assert_uint_eq(who.body.len, 0);
  ask_free(&who);
  who = ask_cid(&fix, "entries", &file, DEAI_EINVAL);
  ask_free(&who);
  carrier_end(&fix);
}
END_TEST

START_TEST(a_slow_reader_is_waited_for) {
  carrier fix = {0};
  uint8_t room[256];
  carrier_begin(&fix, "plug", _i == 1);
  blocks_cid cid = add_seed(&fix, "slow", 9 * MIB);
  deai_blocks_read value = {.cid = blocks_cid_bytes(&cid)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_blocks_read_table, &value, &writer, NULL, 0), DEAI_OK);
  asker who = {.slow = true};
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "read", deai_bytes_of(room, writer.len),
            DEAI_CALLER_CLI);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_OK);
  ck_assert_uint_eq(who.body.len, 9 * MIB);
  same(blocks_buf_bytes(&who.body), "slow", 0);
  ask_free(&who);
  who = (asker){.stop_at = 2 * MIB};
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "read", deai_bytes_of(room, writer.len),
            DEAI_CALLER_CLI);
  deai_loop_run(fix.loop);
  deai_call_cancel(who.call, DEAI_ECANCELLED);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_ECANCELLED);
  ck_assert_uint_lt(who.body.len, 9 * MIB);
  ask_free(&who);
  carrier_end(&fix);
}
END_TEST

START_TEST(a_cancelled_add_leaves_nothing) {
  carrier fix = {0};
  uint8_t empty = 0xa0;
  carrier_begin(&fix, "plug", _i == 1);
  asker who = {.seed = "c", .size = 20 * MIB, .hold_at = 12 * MIB};
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "add", deai_bytes_of(&empty, 1), DEAI_CALLER_CLI);
  while (who.sent < who.hold_at) { /* a call beside it turns the loop */
    blocks_cid none = cid_of_text("none");
    asker other = ask_cid(&fix, "stat", &none, DEAI_OK);
    ask_free(&other);
  }
  deai_call_cancel(who.call, DEAI_ECANCELLED);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_ECANCELLED);
  ask_free(&who);
  ck_assert_uint_eq(list_count(&fix, 100), 0);
  blocks_cid kept = add_seed(&fix, "c", 5 * MIB); /* and the plug-in goes on */
  ck_assert_uint_eq(stat_of(&fix, &kept).size, 5 * MIB);
  carrier_end(&fix);
  blocks_usage usage;
  blocks_store *store = store_at("plug");
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_eq(usage.files, 1);
  ck_assert_uint_lt(usage.bytes, 6 * MIB);
  store_end(store);
}
END_TEST

START_TEST(many_calls_at_a_time) {
  enum { CALLS = 24 };
  carrier fix = {0};
  uint8_t empty = 0xa0;
  static asker who[CALLS];
  memset(who, 0, sizeof who);
  carrier_begin(&fix, "plug", _i == 1);
  for (uint64_t i = 0; i < CALLS; i++) {
    who[i].seed = "many";
    who[i].size = 1000 + i * 64;
    ask_begin(&fix, &who[i], DEAI_BLOCKS_SERVICE, "add", deai_bytes_of(&empty, 1), DEAI_CALLER_CLI);
  }
  for (uint64_t i = 0; i < CALLS; i++) {
    ask_wait(&fix, &who[i]);
    ck_assert_msg(who[i].status == DEAI_OK, "%s", who[i].why);
    ask_free(&who[i]);
  }
  ck_assert_uint_eq(list_count(&fix, 100), CALLS);
  carrier_end(&fix);
}
END_TEST

START_TEST(stops_in_the_middle_of_work) {
  carrier fix = {0};
  uint8_t empty = 0xa0;
  asker who = {.seed = "s", .size = 30 * MIB};
  carrier_begin(&fix, "plug", false);
  (void)add_seed(&fix, "first", 100);
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "add", deai_bytes_of(&empty, 1), DEAI_CALLER_CLI);
  who.hold_at = 1;
  deai_loop_drain(fix.loop);
  deai_instance_stop(fix.instance);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_EPLUGIN_DIED);
  ask_free(&who);
  carrier_end(&fix);
  blocks_store *store = store_at("plug");
  blocks_cid kept = import_seed(NULL, "first", 100, false).cid;
  ck_assert_int_eq(holds(store, &kept), 1);
  store_end(store);
}
END_TEST

START_TEST(says_why_the_store_is_not_open) {
  carrier fix = {0};
  blocks_store *store = store_at("plug");
  blocks_cid cid = put_text(store, "held");
  carrier_begin(&fix, "plug", false);
  for (int i = 0; i < 2; i++) { /* one waits for the opening, one comes behind it */
    asker who = ask_cid(&fix, "get", &cid, DEAI_EBUSY);
    ck_assert_str_ne(who.why, "");
    ask_free(&who);
  }
  carrier_end(&fix);
  store_end(store);
}
END_TEST

START_TEST(a_child_killed_in_an_add_comes_back_clean) {
  carrier fix = {0};
  uint8_t empty = 0xa0;
  carrier_begin(&fix, "plug", true);
  blocks_cid kept = add_seed(&fix, "kept", 6 * MIB);
  asker who = {.seed = "k", .size = 30 * MIB, .hold_at = 12 * MIB};
  ask_begin(&fix, &who, DEAI_BLOCKS_SERVICE, "add", deai_bytes_of(&empty, 1), DEAI_CALLER_CLI);
  while (who.sent < who.hold_at) {
    asker other = ask_cid(&fix, "stat", &kept, DEAI_OK);
    ask_free(&other);
  }
  ck_assert_int_eq(kill(deai_child_pid(fix.child), SIGKILL), 0);
  ask_wait(&fix, &who);
  ck_assert_int_eq(who.status, DEAI_EPLUGIN_DIED);
  ask_free(&who);
  while (!fix.running || deai_child_restarts(fix.child) == 0)
    deai_loop_run(fix.loop);
  verify_clean(&fix);
  read_all(&fix, &kept, "kept", 6 * MIB);
  (void)add_seed(&fix, "k", 30 * MIB);
  verify_clean(&fix);
  carrier_end(&fix);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("plugin");
  TCase *tests = tcase_create("both");
  tcase_set_timeout(tests, 90);
  tcase_add_loop_test(tests, refuses_what_is_wrong, 0, 2);
  tcase_add_loop_test(tests, what_is_added_can_be_used, 0, 2);
  tcase_add_loop_test(tests, blocks_of_two_mebibytes_come_in_two_parts, 0, 2);
  tcase_add_loop_test(tests, have_pin_and_unpin, 0, 2);
  tcase_add_loop_test(tests, what_no_pin_reaches_is_collected, 0, 2);
  tcase_add_loop_test(tests, directories_are_made_listed_and_read, 0, 2);
  tcase_add_loop_test(tests, a_slow_reader_is_waited_for, 0, 2);
  tcase_add_loop_test(tests, a_cancelled_add_leaves_nothing, 0, 2);
  tcase_add_loop_test(tests, many_calls_at_a_time, 0, 2);
  tcase_add_test(tests, stops_in_the_middle_of_work);
  tcase_add_test(tests, says_why_the_store_is_not_open);
  tcase_add_test(tests, a_child_killed_in_an_add_comes_back_clean);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
