/* One answer from the request to the last byte, with the test as provider. */
#include "play.h"

#include "deai/contracts/wire.h"

#include <stdio.h>
#include <string.h>

#include "host/base/banned.h"

/* asked starts a chat whose prompt has 5 ids; returns its ticket when `generate` is open. */
static uint64_t asked(const char *more) {
  uint64_t ticket = play_chat(more);
  if (fake_open("models") != NULL) play_models(100);
  play_encode(5);
  ck_assert_ptr_nonnull(fake_open("generate"));
  return ticket;
}

static void error_is(uint64_t ticket, uint64_t http, const char *code) {
  json_t *json = play_json(ticket);
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_msg(answer->http_status == http, "%s", answer->body);
  const char *found = json_string_value(json_object_get(json_object_get(json, "error"), "code"));
  ck_assert_msg(code == NULL ? found == NULL : found != NULL && strcmp(found, code) == 0, "%s",
                answer->body);
  ck_assert_uint_eq(answer->ends, 1);
  ck_assert_int_eq(answer->end_status, DEAI_OK);
  json_decref(json);
}

START_TEST(an_unknown_model_is_404) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("POST", "/v1/chat/completions",
                              "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]"
                              "}");
  play_models(100);
  error_is(ticket, 404, "model_not_found");
  fake_stop();
}
END_TEST

START_TEST(a_prompt_beyond_the_context_names_both_numbers) {
  play_begin((play_settings){0});
  uint64_t ticket = play_chat(",\"max_tokens\":6");
  play_models(10);
  play_encode(5);
  error_is(ticket, 400, "context_length_exceeded");
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "at most 10 tokens"));
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "found 5 and 6"));
  ticket = play_chat("");
  play_encode(0);
  error_is(ticket, 400, "invalid_value");
  fake_stop();
}
END_TEST

START_TEST(a_template_that_nobody_knows_is_refused) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("POST", "/v1/chat/completions",
                              "{\"model\":\"o\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}"
                              "]}");
  play_models(100);
  error_is(ticket, 400, "unsupported_value");
  fake_stop();
}
END_TEST

START_TEST(a_failure_before_the_first_part_is_500) {
  play_begin((play_settings){0});
  uint64_t ticket = asked("");
  fake_fail(fake_open("generate"), DEAI_EPLUGIN_DIED, play_alpha);
  error_is(ticket, 500, NULL);
  ticket = asked(",\"stream\":true");
  fake_fail(fake_open("generate"), DEAI_ENOPROVIDER, NULL);
  error_is(ticket, 503, NULL);
  fake_stop();
}
END_TEST

START_TEST(a_whole_answer) {
  play_begin((play_settings){0});
  uint64_t ticket = asked(",\"seed\":9,\"temperature\":0.25,\"stop\":\"zz\",\"max_tokens\":7");
  fake_call *call = fake_open("generate");
  deai_lm_job job = play_job(call);
  ck_assert_uint_eq(job.ids, 5);
  ck_assert_uint_eq(job.forced, 0);
  ck_assert_uint_eq(job.max, 7);
  ck_assert_uint_eq(job.stop.count, 1);
  ck_assert_uint_eq(job.sampler.seed, 9);
  ck_assert_uint_eq(job.sampler.t, 250000);
  ck_assert_uint_eq(job.sampler.p, 1000000);
  ck_assert_uint_eq(call->parent, ticket);
  (void)play_tokens(call, play_alpha, 10, 1, "He");
  (void)play_tokens(call, play_alpha, 11, 2, "y \xe2\x82\xac");
  ck_assert_uint_eq(fake_answer_of(ticket)->parts, 0);
  (void)play_end(call, play_alpha, 3, DEAI_LM_STOP, 1);
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_uint_eq(answer->http_status, 200);
  ck_assert_uint_eq(answer->ends, 1);
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-request-id: req_"));
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-deai-provider: aa01000"));
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-deai-price: 7\n"));
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-deai-receipt: g1"));
  ck_assert_ptr_nonnull(strstr(answer->headers, "content-type: application/json"));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"content\":\"Hey \xe2\x82\xac\""));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"finish_reason\":\"stop\""));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"prompt_tokens\":5,\"completion_tokens\":3,"
                                             "\"total_tokens\":8"));
  ck_assert_ptr_nonnull(fake_open("observe"));
  fake_stop();
}
END_TEST

START_TEST(a_stream_is_one_event_a_part) {
  play_begin((play_settings){0});
  uint64_t ticket = asked(",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
  fake_call *call = fake_open("generate");
  (void)play_tokens(call, play_alpha, 10, 1, "He");
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_uint_eq(answer->http_status, 200);
  ck_assert_uint_eq(answer->parts, 2); /* the role, the text */
  ck_assert_ptr_nonnull(strstr(answer->headers, "content-type: text/event-stream"));
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-deai-provider: aa01000"));
  (void)play_tokens(call, play_alpha, 11, 1, ""); /* held back: no event */
  ck_assert_uint_eq(answer->parts, 2);
  (void)play_tokens(call, play_alpha, 12, 1, "y");
  (void)play_end(call, play_alpha, 3, DEAI_LM_LENGTH, 1);
  ck_assert_str_eq(play_content(ticket), "Hey");
  ck_assert_ptr_nonnull(strstr(answer->body, "\"delta\":{},\"logprobs\":null,"
                                             "\"finish_reason\":\"length\""));
  ck_assert_ptr_nonnull(strstr(answer->body, "\n\n: receipt g1"));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"completion_tokens\":3"));
  ck_assert_ptr_nonnull(strstr(answer->body, "\n\n: price 7\n\ndata: [DONE]\n\n"));
  ck_assert_uint_eq(answer->ends, 1);
  fake_stop();
}
END_TEST

static void resumed_answer(const char *more, bool stream) {
  play_begin((play_settings){0});
  uint64_t ticket = asked(more);
  fake_call *first = fake_open("generate");
  (void)play_tokens(first, play_alpha, 10, 2, "He");
  (void)play_tokens(first, play_alpha, 12, 1, ""); /* its text is still held back */
  fake_fail(first, DEAI_EPEER_LOST, play_alpha);
  fake_call *second = fake_open("generate");
  ck_assert_ptr_nonnull(second);
  deai_lm_job job = play_job(second);
  ck_assert_uint_eq(job.forced, 3);
  ck_assert_mem_eq(second->body + 4 * 5, "\x0a\0\0\0\x0b\0\0\0\x0c\0\0\0", 12);
  ck_assert_uint_eq(second->avoid_count, 1);
  ck_assert_mem_eq(second->avoid[0], play_alpha, DEAI_KEY_BYTES);
  ck_assert_mem_ne(second->job, first->job, DEAI_ID_BYTES);
  (void)play_tokens(second, play_beta, 13, 1, "y!"); /* held text comes with the next token */
  (void)play_end(second, play_beta, 4, DEAI_LM_STOP, 1);
  const fake_answer *answer = fake_answer_of(ticket);
  if (stream)
    ck_assert_str_eq(play_content(ticket), "Hey!");
  else
    ck_assert_ptr_nonnull(strstr(answer->body, "\"content\":\"Hey!\""));
  if (!stream) ck_assert_ptr_nonnull(strstr(answer->headers, ",bb02000"));
  ck_assert_uint_eq(fake_counted("answers_resumed"), 1);
  ck_assert_uint_eq(fake_counted("answers"), 1);
  fake_stop();
}

START_TEST(a_lost_provider_is_replaced_to_the_byte) {
  resumed_answer("", false);
  resumed_answer(",\"stream\":true", true);
}
END_TEST

/* others_answer runs an answer whose first provider is lost, and whose END names others. */
static uint64_t others_answer(int32_t lost) {
  static uint8_t room[512];
  deai_other rows[] = {{.st = DEAI_EDENIED, .why = deai_str_of("the caller avoids it")},
                       {.st = DEAI_EPEER_LOST, .why = deai_str_of("not connected")}};
  deai_others all = {.n = {rows, 2}};
  memcpy(rows[0].k, play_alpha, DEAI_KEY_BYTES);
  memcpy(rows[1].k, play_gamma, DEAI_KEY_BYTES);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_int_eq(deai_encode(&deai_others_table, &all, &writer, NULL, 0), DEAI_OK);
  uint64_t ticket = asked(",\"stream\":true");
  (void)play_tokens(fake_open("generate"), play_alpha, 10, 2, "He");
  fake_fail(fake_open("generate"), lost, play_alpha);
  fake.others = deai_bytes_of(room, writer.len);
  (void)play_tokens(fake_open("generate"), play_beta, 12, 1, "y");
  (void)play_end(fake_open("generate"), play_beta, 3, DEAI_LM_STOP, 1);
  fake.others = (deai_bytes){NULL, 0};
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1);
  return ticket;
}

START_TEST(who_does_not_ask_is_told_of_no_others) {
  play_begin((play_settings){0});
  const char *body = fake_answer_of(others_answer(DEAI_EPEER_LOST))->body;
  ck_assert_ptr_null(strstr(body, "others"));
  for (uint32_t i = 0; i < fake.call_count; i++)
    ck_assert_uint_eq(fake.calls[i].flags & DEAI_CALL_EXPLAIN, 0);
  fake_stop();
}
END_TEST

START_TEST(others_are_named_and_the_lost_one_as_lost) {
  char want[512];
  play_begin((play_settings){0});
  fake.headers[0] = (deai_text_pair){deai_str_of("x-deai-explain"), deai_str_of("1")};
  fake.header_count = 1;
  const char *body = fake_answer_of(others_answer(DEAI_EPEER_LOST))->body;
  (void)snprintf(
      want, sizeof want,
      "\"others\":[{\"node\":\"aa01%060d\",\"status\":\"EPEER_LOST\",\"why\":\"it was lost "
      "while this was answered\"},{\"node\":\"cc03%060d\",\"status\":\"EPEER_LOST\",\"why\":"
      "\"not connected\"}],\"first_ms\"",
      0, 0);
  ck_assert_msg(strstr(body, want) != NULL, "%s", body);
  for (uint32_t i = 0; i < fake.call_count; i++)
    ck_assert_uint_eq((fake.calls[i].flags & DEAI_CALL_EXPLAIN) != 0,
                      strcmp(fake.calls[i].method, "generate") == 0);
  fake.header_count = 0;
  fake_stop();
}
END_TEST

START_TEST(at_most_two_providers_are_replaced) {
  play_begin((play_settings){0});
  uint64_t ticket = asked(",\"stream\":true");
  for (uint64_t i = 0; i < 3; i++) {
    fake_call *call = fake_open("generate");
    ck_assert_ptr_nonnull(call);
    ck_assert_uint_eq(call->avoid_count, i);
    uint8_t provider[DEAI_KEY_BYTES] = {(uint8_t)i};
    (void)play_tokens(call, provider, i, 1, "a");
    fake_fail(call, DEAI_EPLUGIN_DIED, provider);
  }
  ck_assert_ptr_null(fake_open("generate"));
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_ptr_nonnull(strstr(answer->body, "data: {\"error\":{\"message\":\"the plug-in ended"));
  ck_assert_ptr_null(strstr(answer->body, "[DONE]"));
  ck_assert_uint_eq(answer->ends, 1);
  fake_stop();
}
END_TEST

START_TEST(time_that_is_up_is_not_resumed) {
  play_begin((play_settings){0});
  uint64_t ticket = asked("");
  fake_call *call = fake_open("generate");
  (void)play_tokens(call, play_alpha, 1, 1, "a");
  fake_fail(call, DEAI_ETIMEDOUT, play_alpha);
  error_is(ticket, 504, NULL);
  fake_stop();
}
END_TEST

START_TEST(a_provider_that_breaks_the_contract_is_replaced) {
  static const char *const bad_text = "\xc3";
  play_begin((play_settings){0});
  uint64_t ticket = asked("");
  fake_call *call = fake_open("generate");
  (void)play_tokens(call, play_alpha, 1, 1, bad_text);
  ck_assert(call->cancelled);
  (void)play_tokens(call, play_alpha, 2, 1, "later parts are ignored");
  fake_fail(call, DEAI_ECANCELLED, play_alpha);
  call = fake_open("generate");
  ck_assert_ptr_nonnull(call);
  ck_assert_uint_eq(call->avoid_count, 1);
  ck_assert_uint_eq(play_job(call).forced, 0);
  (void)play_tokens(call, play_beta, 1, 1, "a");
  (void)play_end(call, play_beta, 2, DEAI_LM_STOP, 1); /* says 2, gave 1 */
  call = fake_open("generate");
  ck_assert_ptr_nonnull(call);
  ck_assert_uint_eq(play_job(call).forced, 1);
  (void)fake_part(call, deai_bytes_of("\xff", 1), (deai_bytes){NULL, 0}, play_alpha);
  fake_fail(call, DEAI_ECANCELLED, play_alpha);
  error_is(ticket, 500, NULL);
  fake_stop();
}
END_TEST

START_TEST(a_client_that_is_gone_cancels_the_call) {
  play_begin((play_settings){0});
  uint64_t ticket = asked(",\"stream\":true");
  fake_call *call = fake_open("generate");
  (void)play_tokens(call, play_alpha, 1, 1, "a");
  fake_cancel(ticket);
  ck_assert(call->cancelled);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1);
  (void)play_tokens(call, play_alpha, 2, 1, "b"); /* on its way */
  fake_fail(call, DEAI_ECANCELLED, play_alpha);
  fake_stop();
}
END_TEST

START_TEST(a_client_that_does_not_read_holds_the_provider) {
  play_begin((play_settings){0});
  uint64_t ticket = asked(",\"stream\":true");
  fake_call *call = fake_open("generate");
  fake.window = 2; /* the head and the role */
  ck_assert_int_eq(play_tokens(call, play_alpha, 1, 1, "a"), DEAI_OK);
  ck_assert_int_eq(play_tokens(call, play_alpha, 2, 1, "b"), DEAI_EAGAIN);
  ck_assert_int_eq(play_end(call, play_alpha, 2, DEAI_LM_STOP, 1), DEAI_EAGAIN);
  fake.window = -1;
  fake.plugin->on_drain(fake.inst, ticket);
  ck_assert_int_eq(play_tokens(call, play_alpha, 2, 1, "b"), DEAI_OK);
  fake.window = 0;
  ck_assert_int_eq(play_end(call, play_alpha, 2, DEAI_LM_STOP, 1), DEAI_OK);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 0);
  fake.window = -1;
  fake.plugin->on_drain(fake.inst, ticket);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 1);
  ck_assert_str_eq(play_content(ticket), "ab");
  fake_stop();
}
END_TEST

START_TEST(a_full_queue_is_429) {
  play_begin((play_settings){.queue = 2});
  uint64_t first = asked("");
  uint64_t second = play_chat(""); /* waits for its ids */
  uint64_t third = play_chat("");
  error_is(third, 429, "rate_limit_exceeded");
  ck_assert_ptr_nonnull(strstr(fake_answer_of(third)->headers, "retry-after: 1\n"));
  fake_cancel(first);
  uint64_t fourth = play_chat("");
  ck_assert_uint_eq(fake_answer_of(fourth)->ends, 0);
  fake_cancel(second);
  fake_cancel(fourth);
  ck_assert_uint_eq(fake_counted("queue_full"), 1);
  fake_stop();
}
END_TEST

START_TEST(a_busy_provider_is_asked_again) {
  play_begin((play_settings){0});
  uint64_t ticket = asked("");
  fake_fail(fake_open("generate"), DEAI_EBUSY, NULL);
  ck_assert_ptr_null(fake_open("generate"));
  fake_timers_run();
  fake_call *call = fake_open("generate");
  ck_assert_ptr_nonnull(call);
  (void)play_tokens(call, play_alpha, 1, 1, "a");
  (void)play_end(call, play_alpha, 1, DEAI_LM_STOP, 1);
  ck_assert_uint_eq(fake_answer_of(ticket)->http_status, 200);
  fake_stop();
}
END_TEST

START_TEST(several_choices_come_one_after_the_other) {
  play_begin((play_settings){0});
  uint64_t ticket = asked(",\"n\":2,\"seed\":4");
  for (uint64_t i = 0; i < 2; i++) {
    fake_call *call = fake_open("generate");
    ck_assert_ptr_nonnull(call);
    ck_assert_uint_eq(play_job(call).sampler.seed, 4 + i);
    (void)play_tokens(call, play_alpha, 10 + i, 1, i == 0 ? "a" : "b");
    (void)play_end(call, play_alpha, 1, DEAI_LM_STOP, 1);
  }
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_ptr_nonnull(strstr(answer->body, "\"index\":1,\"message\":{\"role\":\"assistant\","
                                             "\"content\":\"b\""));
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-deai-receipt-1: g1"));
  ck_assert_ptr_nonnull(strstr(answer->headers, "x-deai-price: 14\n"));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"prompt_tokens\":5,\"completion_tokens\":2"));
  fake_stop();
}
END_TEST

START_TEST(texts_are_completed_with_echo_and_log_probabilities) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("POST", "/v1/completions",
                              "{\"model\":\"default\",\"prompt\":[\"ab\",\"cd\"],\"echo\":true}");
  play_models(100);
  play_encode(2);
  play_encode(3);
  for (uint64_t i = 0; i < 2; i++) {
    fake_call *call = fake_open("generate");
    ck_assert_uint_eq(play_job(call).max, 16);
    (void)play_tokens(call, play_alpha, 10, 1, "x");
    (void)play_end(call, play_alpha, 1, DEAI_LM_LENGTH, 1);
  }
  const fake_answer *answer = fake_answer_of(ticket);
  ck_assert_ptr_nonnull(strstr(answer->body, "\"model\":\"m\""));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"text\":\"abx\""));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"index\":1,\"text\":\"cdx\""));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"prompt_tokens\":5"));
  ticket =
      fake_http("POST", "/v1/completions", "{\"model\":\"m\",\"prompt\":[7,8],\"logprobs\":2}");
  fake_call *call = fake_open("generate");
  ck_assert_ptr_nonnull(call); /* own ids: nothing to encode */
  ck_assert_mem_eq(call->body, "\x07\0\0\0\x08\0\0\0", 8);
  ck_assert_uint_eq(play_job(call).logprobs, 2);
  (void)play_tokens(call, play_alpha, 10, 1, "\xc3\xa9");
  (void)play_tokens(call, play_alpha, 11, 1, "z");
  (void)play_end(call, play_alpha, 2, DEAI_LM_LENGTH, 1);
  answer = fake_answer_of(ticket);
  ck_assert_ptr_nonnull(strstr(answer->body, "\"tokens\":[\"\xc3\xa9\",\"z\"],"
                                             "\"token_logprobs\":[-0.5,-0.5],"
                                             "\"top_logprobs\":[{\"\xc3\xa9\":-0.5,"
                                             "\"token_id:1010\":-2.25},"));
  ck_assert_ptr_nonnull(strstr(answer->body, "\"text_offset\":[0,1]"));
  fake_stop();
}
END_TEST

START_TEST(a_lost_encoder_is_replaced) {
  play_begin((play_settings){0});
  uint64_t ticket = play_chat("");
  play_models(100);
  fake_call *call = fake_open("encode");
  (void)fake_part(call, (deai_bytes){NULL, 0}, deai_bytes_of("\1\0\0\0\2", 5), play_alpha);
  fake_fail(call, DEAI_EPEER_LOST, play_alpha);
  ck_assert_ptr_nonnull(fake_open("encode"));
  ck_assert_uint_eq(fake_open("encode")->avoid_count, 1);
  play_encode(4);
  ck_assert_uint_eq(play_job(fake_open("generate")).ids, 4);
  fake_cancel(ticket);
  ticket = play_chat("");
  call = fake_open("encode");
  (void)fake_part(call, (deai_bytes){NULL, 0}, deai_bytes_of("\1\0\0\0\2", 5), play_alpha);
  fake_fail(call, DEAI_OK, play_alpha); /* no whole id */
  error_is(ticket, 500, NULL);
  fake_stop();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("job");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, an_unknown_model_is_404);
  tcase_add_test(tests, a_prompt_beyond_the_context_names_both_numbers);
  tcase_add_test(tests, a_template_that_nobody_knows_is_refused);
  tcase_add_test(tests, a_failure_before_the_first_part_is_500);
  tcase_add_test(tests, a_whole_answer);
  tcase_add_test(tests, a_stream_is_one_event_a_part);
  tcase_add_test(tests, a_lost_provider_is_replaced_to_the_byte);
  tcase_add_test(tests, who_does_not_ask_is_told_of_no_others);
  tcase_add_test(tests, others_are_named_and_the_lost_one_as_lost);
  tcase_add_test(tests, at_most_two_providers_are_replaced);
  tcase_add_test(tests, time_that_is_up_is_not_resumed);
  tcase_add_test(tests, a_provider_that_breaks_the_contract_is_replaced);
  tcase_add_test(tests, a_client_that_is_gone_cancels_the_call);
  tcase_add_test(tests, a_client_that_does_not_read_holds_the_provider);
  tcase_add_test(tests, a_full_queue_is_429);
  tcase_add_test(tests, a_busy_provider_is_asked_again);
  tcase_add_test(tests, several_choices_come_one_after_the_other);
  tcase_add_test(tests, texts_are_completed_with_echo_and_log_probabilities);
  tcase_add_test(tests, a_lost_encoder_is_replaced);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
