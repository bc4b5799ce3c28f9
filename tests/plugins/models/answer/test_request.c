#include "plugins/models/answer/request.h"

#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define MESSAGES "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static answer_error error;

static int32_t parse(bool chat, const char *body, answer_request *out) {
  memset(&error, 0, sizeof error);
  return answer_request_parse(chat, deai_bytes_of(body, strlen(body)), out, &error);
}

static void refused(bool chat, const char *body, const char *code, const char *param) {
  answer_request request;
  ck_assert_msg(parse(chat, body, &request) == DEAI_EINVAL, "taken: %s", body);
  ck_assert_int_eq(error.http_status, 400);
  ck_assert_msg(strcmp(error.param, param) == 0, "%s: param %s", body, error.param);
  ck_assert_msg(code == NULL ? error.code == NULL
                             : error.code != NULL && strcmp(error.code, code) == 0,
                "%s: code %s", body, error.code != NULL ? error.code : "null");
  ck_assert_msg(strstr(error.message, "expected") != NULL, "%s", error.message);
  ck_assert_ptr_null(request.json);
}

START_TEST(chats_that_break_a_rule_are_refused_by_name) {
  refused(true, "", NULL, "");
  refused(true, "[]", NULL, "");
  refused(true, "{" MESSAGES ",\"n\":1,\"n\":2}", NULL, "");
  refused(true, "{" MESSAGES ",\"n\":9}", "integer_above_max_value", "n");
  refused(true, "{" MESSAGES ",\"n\":1.0}", "invalid_type", "n");
  refused(true, "{" MESSAGES ",\"stop\":[\"\"]}", "invalid_value", "stop");
  refused(true, "{" MESSAGES ",\"top_logprobs\":2}", "invalid_value", "top_logprobs");
  refused(true, "{" MESSAGES ",\"tools\":[{}]}", "unsupported_parameter", "tools");
  refused(true, "{" MESSAGES ",\"presence_penalty\":1}", "unsupported_parameter",
          "presence_penalty");
  refused(true, "{" MESSAGES ",\"response_format\":{\"type\":\"json_object\"}}",
          "unsupported_parameter", "response_format");
  refused(true, "{" MESSAGES ",\"stream\":true,\"stream_options\":{\"x\":1}}", "unknown_parameter",
          "stream_options.x");
  refused(true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}",
          "missing_required_parameter", "messages[0].content");
  refused(true, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}",
          "missing_required_parameter", "messages[0].role");
  refused(true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"y\":1}]}",
          "unknown_parameter", "messages[0].y");
  refused(true,
          "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]"
          "}]}",
          "invalid_value", "messages[0].content[0]");
  refused(true, "{\"model\":\"m\",\"messages\":[7]}", "invalid_type", "messages[0]");
  refused(true, "{\"model\":7,\"messages\":[]}", "invalid_type", "model");
}
END_TEST

START_TEST(texts_that_break_a_rule_are_refused_by_name) {
  refused(false, "{\"model\":\"m\"}", "missing_required_parameter", "prompt");
  refused(false, "{\"model\":\"m\",\"prompt\":[]}", "empty_array", "prompt");
  refused(false, "{\"model\":\"m\",\"prompt\":[1,\"a\"]}", "invalid_type", "prompt");
  refused(false, "{\"model\":\"m\",\"prompt\":[[]]}", "invalid_value", "prompt");
  refused(false, "{\"model\":\"m\",\"prompt\":[-1]}", "integer_below_min_value", "prompt");
  refused(false, "{\"model\":\"m\",\"prompt\":[4294967296]}", "integer_above_max_value", "prompt");
  refused(false, "{\"model\":\"m\",\"prompt\":\"x\",\"messages\":[]}", "unknown_parameter",
          "messages");
  refused(false, "{\"model\":\"m\",\"prompt\":\"x\",\"suffix\":\"y\"}", "unsupported_parameter",
          "suffix");
  refused(false, "{\"model\":\"m\",\"prompt\":[1],\"echo\":true}", "unsupported_parameter", "echo");
  refused(false, "{\"model\":\"m\",\"prompt\":\"x\",\"best_of\":2}", "unsupported_parameter",
          "best_of");
  refused(false, "{\"model\":\"m\",\"n\":8,\"prompt\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}",
          "integer_above_max_value", "n");
}
END_TEST

START_TEST(a_body_beyond_the_limit_is_refused) {
  answer_request request;
  char *body = calloc(1, ANSWER_BODY_MAX + 1);
  ck_assert_ptr_nonnull(body);
  ck_assert_int_eq(
      answer_request_parse(true, deai_bytes_of(body, ANSWER_BODY_MAX + 1), &request, &error),
      DEAI_EINVAL);
  ck_assert_int_eq(error.http_status, 413);
  free(body);
}
END_TEST

START_TEST(defaults_are_those_of_the_api) {
  answer_request request;
  ck_assert_int_eq(parse(true, "{" MESSAGES ",\"n\":null,\"stop\":null}", &request), DEAI_OK);
  ck_assert(request.chat && !request.stream && !request.has_seed && !request.logprobs);
  ck_assert_uint_eq(request.n, 1);
  ck_assert_uint_eq(request.max, 0);
  ck_assert_uint_eq(request.temperature, 1000000);
  ck_assert_uint_eq(request.top_p, 1000000);
  ck_assert_uint_eq(request.prompt_count, 1);
  answer_request_free(&request);
  ck_assert_int_eq(parse(false, "{\"model\":\"m\",\"prompt\":\"x\"}", &request), DEAI_OK);
  ck_assert_uint_eq(request.max, 16);
  ck_assert(!request.max_given);
  answer_request_free(&request);
}
END_TEST

START_TEST(everything_taken_is_where_it_belongs) {
  answer_request request;
  ck_assert_int_eq(
      parse(true,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":"
            "[{\"type\":\"text\",\"text\":\"a\\u0000\"},{\"type\":\"text\",\"text\":\"b\"}]},"
            "{\"role\":\"assistant\",\"content\":null},{\"role\":\"user\",\"content\":\"c\","
            "\"name\":\"n\"}],\"temperature\":0.0000015,\"top_p\":0,\"seed\":-1,\"n\":2,"
            "\"stop\":[\"x\",\"yz\"],\"max_tokens\":5,\"max_completion_tokens\":6,\"stream\":true,"
            "\"stream_options\":{\"include_usage\":true},\"logprobs\":true,\"top_logprobs\":3}",
            &request),
      DEAI_OK);
  ck_assert_uint_eq(request.message_count, 3);
  ck_assert(deai_str_eq(request.messages[0].role, deai_str_of("system")));
  ck_assert(deai_str_eq(request.messages[0].content, (deai_str){"a\0b", 3}));
  ck_assert_uint_eq(request.messages[1].content.len, 0);
  ck_assert_uint_eq(request.temperature, 2);
  ck_assert_uint_eq(request.top_p, 1);
  ck_assert_uint_eq(request.seed, UINT64_MAX);
  ck_assert_uint_eq(request.stop_count, 2);
  ck_assert_uint_eq(request.stops[1].len, 2);
  ck_assert_uint_eq(request.max, 6);
  ck_assert(request.stream && request.include_usage && request.logprobs && request.has_seed);
  ck_assert_uint_eq(request.top_logprobs, 3);
  answer_request_free(&request);
}
END_TEST

START_TEST(prompts_come_as_text_or_ids) {
  answer_request request;
  ck_assert_int_eq(parse(false, "{\"model\":\"m\",\"prompt\":[1,2,3]}", &request), DEAI_OK);
  ck_assert_uint_eq(request.prompt_count, 1);
  ck_assert_uint_eq(request.prompts[0].id_count, 3);
  ck_assert_uint_eq(request.prompts[0].ids[2], 3);
  answer_request_free(&request);
  ck_assert_int_eq(
      parse(false, "{\"model\":\"m\",\"prompt\":[[4],[5,6]],\"logprobs\":0}", &request), DEAI_OK);
  ck_assert_uint_eq(request.prompt_count, 2);
  ck_assert_uint_eq(request.prompts[1].ids[1], 6);
  ck_assert(request.logprobs);
  answer_request_free(&request);
  ck_assert_int_eq(
      parse(false, "{\"model\":\"m\",\"prompt\":[\"a\",\"bc\"],\"echo\":true}", &request), DEAI_OK);
  ck_assert_uint_eq(request.prompts[1].text.len, 2);
  answer_request_free(&request);
}
END_TEST

/* ---- vectors ---- */

typedef struct tally {
  size_t passed;
  size_t failed;
  size_t not_in_build;
} tally;

static bool in_list(const json_t *list, const char *text) {
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *item = json_array_get(list, i);
    if (text == NULL || text[0] == 0
            ? json_is_null(item)
            : json_is_string(item) && strcmp(json_string_value(item), text) == 0)
      return true;
  }
  return false;
}

/* is_pure says that the body alone decides the answer. */
static bool is_pure(const json_t *row) {
  const char *path = json_string_value(json_object_get(row, "path"));
  const char *method = json_string_value(json_object_get(row, "method"));
  const char *id = json_string_value(json_object_get(row, "id"));
  bool known = strcmp(path, "/v1/chat/completions") == 0 || strcmp(path, "/v1/completions") == 0;
  if (!known || strcmp(method, "POST") != 0) return false;
  if (json_object_get(row, "precondition") != NULL || json_object_get(row, "needs_auth") != NULL)
    return false;
  /* unknown model, context and size of the body are for the node, not for the body's form */
  return strcmp(id, "p026") != 0 && strcmp(id, "p052") != 0 && strcmp(id, "p053") != 0;
}

static bool row_holds(json_t *row) {
  answer_request request;
  const json_t *expect = json_object_get(row, "expect");
  const json_t *wanted = json_object_get(expect, "error");
  json_int_t http = json_integer_value(json_object_get(expect, "status"));
  const char *raw = json_string_value(json_object_get(row, "raw_body"));
  char *dumped = raw == NULL ? json_dumps(json_object_get(row, "body"), 0) : NULL;
  const char *path = json_string_value(json_object_get(row, "path"));
  int32_t status =
      parse(strcmp(path, "/v1/chat/completions") == 0, raw != NULL ? raw : dumped, &request);
  free(dumped);
  if (status == DEAI_OK) {
    answer_request_free(&request);
    return http == 200;
  }
  return error.http_status == http && error.message[0] != 0 &&
         in_list(json_object_get(wanted, "type"), error.type) &&
         in_list(json_object_get(wanted, "code"), error.code) &&
         in_list(json_object_get(wanted, "param"), error.param);
}

static void one_row(json_t *row, void *user) {
  tally *count = user;
  const char *path = json_string_value(json_object_get(row, "path"));
  if (strcmp(path, "/v1/embeddings") == 0) {
    count->not_in_build++;
    return;
  }
  if (!is_pure(row)) return;
  if (row_holds(row)) {
    count->passed++;
    return;
  }
  count->failed++;
  printf("openai %s: status %d, code %s, param \"%s\": %s\n",
         json_string_value(json_object_get(row, "id")), error.http_status,
         error.code != NULL ? error.code : "null", error.param, error.message);
}

START_TEST(vectors) {
  tally count = {0};
  ck_assert_uint_ge(testing_vector_rows("openai", "cases.jsonl", one_row, &count), 56);
  testing_tally("openai", count.passed, count.failed, count.not_in_build);
  ck_assert_uint_eq(count.failed, 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("request");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, chats_that_break_a_rule_are_refused_by_name);
  tcase_add_test(tests, texts_that_break_a_rule_are_refused_by_name);
  tcase_add_test(tests, a_body_beyond_the_limit_is_refused);
  tcase_add_test(tests, defaults_are_those_of_the_api);
  tcase_add_test(tests, everything_taken_is_where_it_belongs);
  tcase_add_test(tests, prompts_come_as_text_or_ids);
  tcase_add_test(tests, vectors);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
