#include "plugins/models/answer/reply.h"

#include "tests/testing.h"

#include <string.h>

#include "host/base/banned.h"

static const answer_shape chat = {
    .chat = true, .id = "chatcmpl-1", .created = 5, .model = {"m", 1}};
static const answer_shape text_shape = {.id = "cmpl-1", .created = 5, .model = {"m", 1}};

static void is(answer_text *text, const char *expected) {
  ck_assert_int_eq(text->status, DEAI_OK);
  answer_text_put(text, "", 1);
  ck_assert_str_eq((const char *)text->ptr, expected);
  answer_text_free(text);
}

START_TEST(errors_have_four_keys) {
  answer_text text = {0};
  answer_error error;
  (void)answer_fail(&error, 400, "invalid_type", "n", "bad %s", "\"n\"");
  answer_write_error(&text, &error);
  is(&text, "{\"error\":{\"message\":\"bad \\\"n\\\"\",\"type\":\"invalid_request_error\","
            "\"param\":\"n\",\"code\":\"invalid_type\"}}");
  answer_fail_status(&error, DEAI_EPLUGIN_DIED, deai_str_of("gone"));
  ck_assert_int_eq(error.http_status, 500);
  answer_write_error_event(&text, &error);
  is(&text, "data: {\"error\":{\"message\":\"the plug-in ended: gone\",\"type\":\"server_error\","
            "\"param\":null,\"code\":null}}\n\n");
}
END_TEST

START_TEST(a_status_becomes_what_clients_act_on) {
  static const struct {
    int32_t status;
    int32_t http;
    const char *type;
    bool retry;
  } rows[] = {{DEAI_EINVAL, 400, "invalid_request_error", false},
              {DEAI_EBUSY, 429, "requests", true},
              {DEAI_EPAYMENT, 402, "invalid_request_error", false},
              {DEAI_ENOPROVIDER, 503, "server_error", true},
              {DEAI_ETIMEDOUT, 504, "server_error", false},
              {DEAI_EPEER_LOST, 500, "server_error", false}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    answer_error error;
    answer_fail_status(&error, rows[i].status, (deai_str){NULL, 0});
    ck_assert_int_eq(error.http_status, rows[i].http);
    ck_assert_str_eq(error.type, rows[i].type);
    ck_assert_int_eq(error.retry, rows[i].retry);
  }
}
END_TEST

START_TEST(a_reason_cut_inside_a_character_stays_utf8) {
  char why[512];
  memset(why, 'x', sizeof why);
  memcpy(why + 399, "\xc3\xa9", 2); /* 400 bytes are kept */
  answer_error error;
  answer_text text = {0};
  answer_fail_status(&error, DEAI_EINVAL, (deai_str){why, sizeof why});
  answer_write_error(&text, &error);
  json_t *json = json_loadb((const char *)text.ptr, text.len, 0, NULL);
  ck_assert_ptr_nonnull(json);
  json_decref(json);
  answer_text_free(&text);
}
END_TEST

START_TEST(whole_answers_have_the_keys_of_the_api) {
  answer_text text = {0};
  answer_usage usage = {3, 4};
  answer_choice choices[2] = {{.index = 0, .text = {"a", 1}, .finish = "stop"},
                              {.index = 1, .text = {"b", 1}, .finish = "length"}};
  answer_write_answer(&text, &chat, choices, 1, &usage);
  is(&text, "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":5,\"model\":\"m\","
            "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\","
            "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
            "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}");
  answer_write_answer(&text, &text_shape, choices, 2, &usage);
  is(&text, "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":5,\"model\":\"m\","
            "\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":\"stop\"}"
            ",{\"index\":1,\"text\":\"b\",\"logprobs\":null,\"finish_reason\":\"length\"}],"
            "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}");
}
END_TEST

START_TEST(chunks_are_events) {
  answer_text text = {0};
  answer_shape shape = chat;
  answer_choice first = {.role = true, .text = {"", 0}};
  answer_choice last = {.text = {"", 0}, .finish = "stop"};
  answer_usage usage = {1, 2};
  answer_write_chunk(&text, &shape, &first);
  is(&text, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
            "\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  shape.include_usage = true;
  answer_write_chunk(&text, &shape, &last);
  is(&text, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
            "\"finish_reason\":\"stop\"}],\"usage\":null}\n\n");
  answer_write_usage(&text, &shape, &usage);
  is(&text, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,"
            "\"completion_tokens\":2,\"total_tokens\":3}}\n\n");
}
END_TEST

static const answer_row two_rows[] = {
    {.text_at = 0, .text_len = 2, .count = 3, .items = {{7, -500000}, {7, -500000}, {9, -2000000}}},
    {.text_len = 0, .offset = 1, .count = 2, .items = {{8, -1}, {8, -1}}},
};

START_TEST(log_probabilities_name_tokens_they_know) {
  answer_text text = {0};
  answer_rows rows = {.items = two_rows, .count = 2, .text = {"\xc3\xa9", 2}, .top_max = 2};
  answer_choice choice = {.text = rows.text, .rows = &rows};
  answer_write_chunk(&text, &chat, &choice);
  answer_text_put(&text, "", 1);
  ck_assert_ptr_nonnull(
      strstr((const char *)text.ptr,
             "\"logprobs\":{\"content\":[{\"token\":\"\xc3\xa9\",\"logprob\":-0.5,"
             "\"bytes\":[195,169],\"top_logprobs\":[{\"token\":\"\xc3\xa9\",\"logprob\":-0.5,"
             "\"bytes\":[195,169]},{\"token\":\"token_id:9\",\"logprob\":-2,\"bytes\":null}]},"
             "{\"token\":\"token_id:8\",\"logprob\":-0.000001,\"bytes\":null,"
             "\"top_logprobs\":[{\"token\":\"token_id:8\",\"logprob\":-0.000001,\"bytes\":null}]}"
             "],\"refusal\":null}"));
  answer_text_free(&text);
  rows.top_max = 1;
  answer_write_chunk(&text, &text_shape, &choice);
  answer_text_put(&text, "", 1);
  ck_assert_ptr_nonnull(
      strstr((const char *)text.ptr,
             "\"logprobs\":{\"tokens\":[\"\xc3\xa9\",\"token_id:8\"],"
             "\"token_logprobs\":[-0.5,-0.000001],\"top_logprobs\":[{\"\xc3\xa9\":-0.5},"
             "{\"token_id:8\":-0.000001}],\"text_offset\":[0,1]}"));
  answer_text_free(&text);
}
END_TEST

START_TEST(models_are_listed) {
  answer_text text = {0};
  answer_listed model = {
      .id = {"m", 1}, .cid = {"bafk", 4}, .created = 1, .ctx = 2, .price_in = 3, .price_out = 4};
  answer_write_models(&text, &model, 1);
  is(&text, "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\",\"created\":1,"
            "\"owned_by\":\"deai\",\"cid\":\"bafk\",\"context_length\":2,\"price_in\":3,"
            "\"price_out\":4,\"chat_template\":null}]}");
  uint8_t keys[2][DEAI_KEY_BYTES];
  memset(keys, 0xab, sizeof keys);
  char want[512];
  char hex[2 * DEAI_KEY_BYTES + 1] = "";
  for (size_t i = 0; i < DEAI_KEY_BYTES; i++)
    memcpy(hex + 2 * i, "ab", 3);
  model.chat = "chatml";
  model.offered = deai_bytes_of(keys[0], sizeof keys);
  (void)snprintf(want, sizeof want, "\"chat_template\":\"chatml\",\"nodes\":[\"%s\",\"%s\"]}", hex,
                 hex);
  answer_write_models(&text, &model, 1);
  ck_assert_ptr_nonnull(strstr((const char *)text.ptr, want));
  answer_text_free(&text);
  answer_write_models(&text, NULL, 0);
  is(&text, "{\"object\":\"list\",\"data\":[]}");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("reply");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, errors_have_four_keys);
  tcase_add_test(tests, a_status_becomes_what_clients_act_on);
  tcase_add_test(tests, a_reason_cut_inside_a_character_stays_utf8);
  tcase_add_test(tests, whole_answers_have_the_keys_of_the_api);
  tcase_add_test(tests, chunks_are_events);
  tcase_add_test(tests, log_probabilities_name_tokens_they_know);
  tcase_add_test(tests, models_are_listed);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
