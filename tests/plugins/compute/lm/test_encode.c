#include "fake.h"

#include "plugins/compute/lm/tokenizer.h"
#include "tests/plugins/compute/cpu/run.h"
#include "tests/plugins/compute/lm/tiny.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static const char *path;
static deai_bytes cid;

static void set_up(void) {
  path = fake_tiny("encode.gguf", 11);
  (void)fake_open(&(fake_options){.path = path, .queue = 0});
  cid = fake_models(NULL);
}

static void tear_down(void) {
  fake_close();
}

static uint64_t encode(const deai_lm_text *parts, uint64_t count, deai_bytes body) {
  static uint8_t args[65536];
  char err[DEAI_ERR_CAP] = "";
  deai_lm_encode asked = {.model = cid,
                          .parts = {.items = (void *)(uintptr_t)parts, .count = count}};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){args, sizeof args});
  ck_assert_int_eq(deai_encode(&deai_lm_encode_table, &asked, &writer, err, sizeof err), DEAI_OK);
  return fake_call_service("encode", deai_bytes_of(args, writer.len), body, 0);
}

static uint32_t id_at(const fake_answer *a, size_t i) {
  const uint8_t *at = a->body + 4 * i;
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

START_TEST(lengths_must_agree_with_the_body) {
  deai_lm_text parts[2] = {{.len = 4}, {.len = 3}};
  const fake_answer *a = fake_at(encode(parts, 2, deai_bytes_of("abcdef", 6)));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  ck_assert_msg(strstr(a->why, "part 1 expected, found 2") != NULL, "%s", a->why);
  a = fake_at(encode(parts, 2, deai_bytes_of("abcdefgh", 8)));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  ck_assert_msg(strstr(a->why, "7 bytes expected, found 8") != NULL, "%s", a->why);
  parts[0].len = parts[1].len = 1048576;
  a = fake_at(encode(parts, 2, deai_bytes_of("abcdefgh", 8)));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
  a = fake_at(fake_call_service("encode", deai_bytes_of("\xa0", 1), deai_bytes_of("a", 1), 0));
  ck_assert_int_eq(a->status, DEAI_EINVAL);
}
END_TEST

START_TEST(control_tokens_are_found_in_special_parts_only) {
  static const char words[] = "<|im_end|>abc<|im_end|>";
  deai_lm_text parts[2] = {{.len = 10, .special = 1}, {.len = 13}};
  const fake_answer *a = fake_end(encode(parts, 2, deai_bytes_of(words, 23)));
  ck_assert_msg(a->status == DEAI_OK, "%s", a->why);
  ck_assert_uint_eq(a->end_len, 1);
  ck_assert_uint_eq(id_at(a, 0), TINY_END);
  ck_assert_uint_gt(a->body_len, 8);
  for (size_t i = 1; i < a->body_len / 4; i++)
    ck_assert_uint_ne(id_at(a, i), TINY_END);
}
END_TEST

START_TEST(long_texts_come_in_parts_and_wait) {
  uint64_t len = 40000;
  char *text = malloc((size_t)len);
  ck_assert_ptr_nonnull(text);
  memset(text, 'z', (size_t)len);
  deai_lm_text part = {.len = len};
  fake_window(1);
  uint64_t ticket = encode(&part, 1, deai_bytes_of(text, len));
  const fake_answer *a = fake_held(ticket);
  ck_assert_uint_eq(a->body_parts, 1);
  fake_drain(ticket, 0);
  ck_assert_uint_eq(a->body_parts, 1);
  fake_drain(ticket, 5);
  ck_assert(a->ended);
  ck_assert_int_eq(a->status, DEAI_OK);
  ck_assert_uint_eq(a->body_parts, 3);
  lm_model *model = run_model(path, 0);
  lm_ids ids = {0};
  lm_part whole = {.text = deai_bytes_of(text, len)};
  ck_assert_int_eq(lm_tokenizer_encode(lm_model_tokenizer(model), &whole, 1, &ids), DEAI_OK);
  ck_assert_uint_eq(a->body_len, ids.len * 4);
  for (size_t i = 0; i < ids.len; i++)
    ck_assert_uint_eq(id_at(a, i), ids.ptr[i]);
  lm_ids_free(&ids);
  lm_model_close(model);
  free(text);
}
END_TEST

START_TEST(cancelled_and_too_many) {
  deai_lm_text part = {.len = 3};
  uint64_t tickets[4];
  fake_window(0);
  for (int i = 0; i < 4; i++)
    tickets[i] = encode(&part, 1, deai_bytes_of("abc", 3));
  const fake_answer *a = fake_at(encode(&part, 1, deai_bytes_of("abc", 3)));
  ck_assert_int_eq(a->status, DEAI_EBUSY);
  fake_cancel(tickets[0], DEAI_ECANCELLED);
  ck_assert_int_eq(fake_at(tickets[0])->status, DEAI_ECANCELLED);
  (void)fake_held(tickets[3]);
  fake_cancel(tickets[3], DEAI_ETIMEDOUT);
  ck_assert_int_eq(fake_at(tickets[3])->status, DEAI_ETIMEDOUT);
  (void)fake_held(tickets[2]);
  fake_drain(tickets[2], 1);
  ck_assert_int_eq(fake_at(tickets[2])->status, DEAI_OK);
} /* teardown stops with one under way */
END_TEST

int main(void) {
  Suite *suite = suite_create("encode");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, lengths_must_agree_with_the_body);
  tcase_add_test(tests, control_tokens_are_found_in_special_parts_only);
  tcase_add_test(tests, long_texts_come_in_parts_and_wait);
  tcase_add_test(tests, cancelled_and_too_many);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
