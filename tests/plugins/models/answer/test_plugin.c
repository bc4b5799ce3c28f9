/* Paths, methods, bodies in several parts: what happens before a model is asked. */
#include "play.h"

#include "deai/contracts/http.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static void refused(const char *method, const char *path, uint64_t http, const char *code) {
  uint64_t ticket = fake_http(method, path, NULL);
  json_t *json = play_json(ticket);
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_uint_eq(answer->http_status, http);
  ck_assert_uint_eq(answer->ends, 1);
  ck_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "error"), "code")),
                   code);
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-request-id: req_"));
  json_decref(json);
}

START_TEST(unknown_paths_and_methods_are_refused) {
  play_begin((play_settings){0});
  refused("GET", "/v1/nothing", 404, "unknown_url");
  refused("POST", "/v1/embeddings", 404, "unknown_url");
  refused("GET", "/v1/models/", 404, "unknown_url");
  refused("GET", "/v1/", 404, "unknown_url");
  refused("GET", "/v1/chat/completions", 405, "method_not_supported");
  ck_assert_ptr_nonnull(strstr(fake.answers[fake.answer_count - 1].headers, "allow: POST\n"));
  refused("DELETE", "/v1/models", 405, "method_not_supported");
  ck_assert_ptr_nonnull(strstr(fake.answers[fake.answer_count - 1].headers, "allow: GET, HEAD\n"));
  ck_assert_uint_eq(fake.call_count, 0);
  fake_stop();
}
END_TEST

START_TEST(a_call_without_a_request_is_refused) {
  play_begin((play_settings){0});
  uint64_t ticket =
      fake_call_in(DEAI_HTTP_SERVICE, "request", deai_bytes_of("\xa0", 1), (deai_bytes){NULL, 0});
  ck_assert_int_eq(fake_answer_of(ticket)->end_status, DEAI_EINVAL);
  fake_stop();
}
END_TEST

START_TEST(two_calls_have_two_request_ids) {
  play_begin((play_settings){0});
  uint64_t one = fake_http("GET", "/v1/nothing", NULL);
  uint64_t two = fake_http("GET", "/v1/nothing", NULL);
  ck_assert_str_ne(fake_answer_of(one)->headers, fake_answer_of(two)->headers);
  fake_stop();
}
END_TEST

/* sent sends a chat in pieces; more = further bytes of content. */
static uint64_t sent(size_t more) {
  deai_http_request head = {.path = deai_str_of("/v1/chat/completions"),
                            .query = deai_str_of(""),
                            .method = deai_str_of("POST")};
  static const char *const text =
      "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"";
  deai_call_info info = {.size = (uint32_t)sizeof info, .time_left_ms = 1000};
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  char err[DEAI_ERR_CAP] = "";
  uint64_t ticket = ++fake.next_ticket;
  fake.answers[fake.answer_count++] = (fake_answer){.ticket = ticket};
  part.args = fake_encode(&deai_http_request_table, &head);
  ck_assert_int_eq(fake.plugin->on_call(fake.inst, ticket, &info, &part, err, sizeof err), 0);
  part.args = (deai_bytes){NULL, 0};
  part.body = deai_bytes_of(text, strlen(text));
  ck_assert_int_eq(fake.plugin->on_part(fake.inst, ticket, &part), DEAI_OK);
  char *piece = calloc(1, more + 1);
  ck_assert_ptr_nonnull(piece);
  memset(piece, 'x', more);
  part.body = deai_bytes_of(piece, more);
  ck_assert_int_eq(fake.plugin->on_part(fake.inst, ticket, &part), DEAI_OK);
  part.body = deai_bytes_of("\"}]}", 4);
  part.flags = DEAI_PART_END;
  ck_assert_int_eq(fake.plugin->on_part(fake.inst, ticket, &part), DEAI_OK);
  free(piece);
  return ticket;
}

START_TEST(bodies_come_in_pieces_up_to_the_limit) {
  play_begin((play_settings){0});
  uint64_t ticket = sent(1048576);
  ck_assert_uint_eq(fake_answer_of(ticket)->http_status, 413);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1);
  ck_assert_uint_eq(fake.call_count, 0);
  ticket = sent(1000);
  play_models(4096);
  ck_assert_uint_gt(fake_open("encode")->body_len, 1000);
  fake_cancel(ticket);
  fake_stop();
}
END_TEST

START_TEST(a_plugin_that_stops_in_the_middle_leaves_nothing) {
  play_begin((play_settings){0});
  (void)play_chat("");
  (void)play_chat(",\"stream\":true");
  play_models(100);
  play_encode(4);
  (void)fake_http("GET", "/v1/models", NULL);
  fake_stop(); /* the leak checker is the judge */
}
END_TEST

int main(void) {
  Suite *suite = suite_create("plugin");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, unknown_paths_and_methods_are_refused);
  tcase_add_test(tests, a_call_without_a_request_is_refused);
  tcase_add_test(tests, two_calls_have_two_request_ids);
  tcase_add_test(tests, bodies_come_in_pieces_up_to_the_limit);
  tcase_add_test(tests, a_plugin_that_stops_in_the_middle_leaves_nothing);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
