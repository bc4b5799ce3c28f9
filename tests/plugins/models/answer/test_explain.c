#include "plugins/models/answer/explain.h"

#include "deai/contracts/ledger.h"
#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static deai_bytes signed_of(uint8_t *room, uint64_t cap) {
  deai_signed pack = {.body = deai_bytes_of("\xa0", 1)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, cap});
  ck_assert_int_eq(deai_encode(&deai_signed_table, &pack, &writer, NULL, 0), DEAI_OK);
  return deai_bytes_of(room, writer.len);
}

START_TEST(without_a_receipt_there_is_no_file) {
  answer_text out = {0};
  deai_bytes map = deai_bytes_of("\xa0", 1);
  deai_bytes none = {NULL, 0};
  answer_job_file(&out, none, map, none, none);
  ck_assert_int_eq(out.status, DEAI_OK);
  ck_assert_uint_eq(out.len, 0);
  answer_job_file(&out, map, map, none, none); /* no signed structure */
  ck_assert_int_eq(out.status, DEAI_EINVAL);
}
END_TEST

START_TEST(a_job_file_is_read_back) {
  static _Alignas(16) uint8_t ids_room[64];
  uint8_t room[256];
  answer_text out = {0};
  deai_job_file file;
  deai_arena arena = {ids_room, sizeof ids_room, 0};
  deai_bytes ids = deai_bytes_of("\1\0\0\0\xff\xff\xff\xff", 8);
  answer_job_file(&out, signed_of(room, sizeof room), deai_bytes_of("\xa0", 1),
                  deai_bytes_of("body", 4), ids);
  ck_assert_int_eq(out.status, DEAI_OK);
  ck_assert_int_eq(
      deai_decode(&deai_job_file_table, answer_text_bytes(&out), &file, &arena, NULL, 0), DEAI_OK);
  ck_assert_uint_eq(file.ids.count, 2);
  const uint64_t *list = file.ids.items;
  ck_assert_uint_eq(list[0], 1);
  ck_assert_uint_eq(list[1], UINT32_MAX);
  ck_assert_mem_eq(file.body.ptr, "body", 4);
  answer_text_free(&out);
}
END_TEST

START_TEST(members_that_are_not_known_are_left_out) {
  answer_text text = {0};
  answer_verdict verdict = {.why = "no \"second\" provider"};
  answer_explained told = {.why = "so", .first_ms = 7, .verdict = &verdict};
  answer_explain_write(&text, &told);
  answer_text_put(&text, "", 1);
  ck_assert_str_eq((const char *)text.ptr,
                   ": explain {\"nodes\":[],\"why\":\"so\",\"first_ms\":7,\"audit\":{\"result\":"
                   "\"none\",\"why\":\"no \\\"second\\\" provider\"}}\n\n");
  answer_text_free(&text);
}
END_TEST

static uint64_t others_of(deai_other *rows, uint64_t count, uint8_t *room, uint64_t cap) {
  deai_others all = {.n = {rows, count}};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, cap});
  ck_assert_int_eq(deai_encode(&deai_others_table, &all, &writer, NULL, 0), DEAI_OK);
  return writer.len;
}

START_TEST(others_without_form_add_nothing) {
  static const char *const bad[] = {"", "\xa0", "x", "\xa1\x61n\x01", "\xa1\x61n\x81\xa0"};
  static const uint64_t lens[] = {0, 1, 1, 4, 5};
  answer_text rows = {0};
  answer_others_read(&rows, deai_bytes_of(bad[_i], lens[_i]));
  ck_assert_uint_eq(rows.len, 0);
  ck_assert_int_eq(rows.status, DEAI_OK);
}
END_TEST

START_TEST(others_are_read_and_written) {
  uint8_t room[1024];
  char want[1024];
  answer_text rows = {0};
  answer_text text = {0};
  answer_verdict verdict = {.why = "x"};
  deai_other list[] = {{.k = {1}, .why = deai_str_of("comes \"behind\"")},
                       {.k = {2}, .st = DEAI_EPEER_LOST, .why = deai_str_of("gone")},
                       {.k = {3}, .st = 7, .why = deai_str_of("")}};
  answer_others_read(&rows, deai_bytes_of(room, others_of(list, 3, room, sizeof room)));
  ck_assert_uint_eq(rows.len, 3 * sizeof(answer_other));
  const answer_other *items = (const answer_other *)(const void *)rows.ptr;
  answer_explained told = {
      .why = "so", .others = items, .other_count = 2, .first_ms = 7, .verdict = &verdict};
  ck_assert_int_eq(items[2].status, DEAI_EINTERNAL); /* no status that is known */
  answer_explain_write(&text, &told);
  answer_text_put(&text, "", 1);
  (void)snprintf(want, sizeof want,
                 "\"why\":\"so\",\"others\":[{\"node\":\"01%062d\",\"status\":\"OK\",\"why\":"
                 "\"comes \\\"behind\\\"\"},{\"node\":\"02%062d\",\"status\":\"EPEER_LOST\","
                 "\"why\":\"gone\"}],\"first_ms\":7",
                 0, 0);
  ck_assert_msg(strstr((const char *)text.ptr, want) != NULL, "%s", (const char *)text.ptr);
  answer_text_free(&rows);
  answer_text_free(&text);
}
END_TEST

START_TEST(all_that_is_known_is_told) {
  uint8_t nodes[2 * DEAI_KEY_BYTES] = {1};
  answer_text text = {0};
  answer_other other = {.key = {9}, .status = DEAI_EDENIED, .why = "has the owner of the worker"};
  answer_verdict verdict = {.result = DEAI_RANK_UNEQUAL,
                            .others = &other,
                            .other_count = 1,
                            .has_auditor = true,
                            .other_owner = true,
                            .root_differs = true,
                            .has_wrong = true,
                            .wrong = 3,
                            .ids = ANSWER_IDS_UNEQUAL,
                            .objection = "on the ledger, block 1"};
  answer_explained told = {.nodes = deai_bytes_of(nodes, sizeof nodes),
                           .why = "so",
                           .verdict = &verdict,
                           .file = deai_bytes_of("abc", 3)};
  answer_explain_write(&text, &told);
  ck_assert_int_eq(text.status, DEAI_OK);
  json_t *json = json_loadb((const char *)text.ptr + 10, text.len - 12, 0, NULL);
  ck_assert_ptr_nonnull(json);
  const json_t *audit = json_object_get(json, "audit");
  ck_assert_uint_eq(json_array_size(json_object_get(json, "nodes")), 2);
  ck_assert_str_eq(json_string_value(json_object_get(audit, "root")), "unequal");
  ck_assert_str_eq(json_string_value(json_object_get(audit, "ids")), "unequal");
  const json_t *row = json_array_get(json_object_get(audit, "others"), 0);
  ck_assert_str_eq(json_string_value(json_object_get(row, "status")), "EDENIED");
  ck_assert_str_eq(json_string_value(json_object_get(row, "why")), other.why);
  ck_assert_int_eq(json_integer_value(json_object_get(audit, "wrong")), 3);
  ck_assert_str_eq(json_string_value(json_object_get(json, "file")), "abc");
  json_decref(json);
  answer_text_free(&text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("explain");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, without_a_receipt_there_is_no_file);
  tcase_add_test(tests, a_job_file_is_read_back);
  tcase_add_test(tests, members_that_are_not_known_are_left_out);
  tcase_add_loop_test(tests, others_without_form_add_nothing, 0, 5);
  tcase_add_test(tests, others_are_read_and_written);
  tcase_add_test(tests, all_that_is_known_is_told);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
