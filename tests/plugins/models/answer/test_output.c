#include "plugins/models/answer/output.h"

#include "play.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static uint64_t new_ticket(void) {
  uint64_t ticket = ++fake.next_ticket;
  fake.answers[fake.answer_count++] = (fake_answer){.ticket = ticket};
  return ticket;
}

START_TEST(headers_that_do_not_fit_are_left_out_and_named_in_the_log) {
  play_begin((play_settings){0});
  answer_output output;
  answer_headers headers = {0};
  char *large = calloc(1, 8194);
  ck_assert_ptr_nonnull(large);
  memset(large, 'x', 8193);
  ck_assert_int_eq(answer_output_init(&output, fake.inst, new_ticket()), DEAI_OK);
  answer_headers_text(&headers, "zz", "1");
  answer_headers_text(&headers, "x-large", large);
  answer_headers_text(&headers, "a", "2");
  answer_output_head(&output, 200, &headers);
  const fake_answer *answer = fake_answer_of(output.ticket);
  ck_assert_ptr_nonnull(strstr(answer->headers, "a: 2\nzz: 1\nx-request-id: req_"));
  ck_assert_ptr_nonnull(strstr(fake.logs, "1 headers did not fit"));
  answer_headers_free(&headers);
  answer_output_gone(&output, DEAI_ECANCELLED);
  ck_assert_int_eq(answer->end_status, DEAI_ECANCELLED);
  answer_output_gone(&output, DEAI_OK); /* only once */
  answer_output_free(&output);
  free(large);
  fake_stop();
}
END_TEST

START_TEST(large_bodies_go_in_parts_and_wait_for_the_client) {
  play_begin((play_settings){0});
  answer_output output;
  answer_headers headers = {0};
  answer_text body = {0};
  for (uint32_t i = 0; i < 700000; i++)
    answer_text_put(&body, i % 2 == 0 ? "a" : "b", 1);
  ck_assert_int_eq(answer_output_init(&output, fake.inst, new_ticket()), DEAI_OK);
  fake.window = 2;
  answer_output_json(&output, 200, &headers, &body);
  const fake_answer *answer = fake_answer_of(output.ticket);
  ck_assert(answer_output_waits(&output) && !output.over);
  ck_assert_uint_eq(answer->body_len, ANSWER_OUTPUT_PART);
  fake.window = 1;
  answer_output_drain(&output);
  ck_assert_uint_eq(answer->ends, 0);
  fake.window = -1;
  answer_output_drain(&output);
  ck_assert_uint_eq(answer->ends, 1);
  ck_assert_uint_eq(answer->parts, 3);
  ck_assert_uint_eq(answer->body_len, body.len);
  ck_assert_mem_eq(answer->body, body.ptr, body.len);
  answer_headers_free(&headers);
  answer_text_free(&body);
  answer_output_free(&output);
  fake_stop();
}
END_TEST

START_TEST(errors_become_events_once_a_stream_has_begun) {
  play_begin((play_settings){0});
  answer_output output;
  answer_headers headers = {0};
  answer_error error;
  ck_assert_int_eq(answer_output_init(&output, fake.inst, new_ticket()), DEAI_OK);
  answer_output_head(&output, 200, &headers);
  (void)answer_fail(&error, 500, NULL, NULL, "no");
  answer_output_error(&output, &error);
  answer_output_error(&output, &error); /* only once */
  ck_assert_str_eq(fake_answer_of(output.ticket)->body,
                   "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"param\":null,"
                   "\"code\":null}}\n\n");
  answer_headers_free(&headers);
  answer_output_free(&output);
  fake_stop();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("output");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, headers_that_do_not_fit_are_left_out_and_named_in_the_log);
  tcase_add_test(tests, large_bodies_go_in_parts_and_wait_for_the_client);
  tcase_add_test(tests, errors_become_events_once_a_stream_has_begun);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
