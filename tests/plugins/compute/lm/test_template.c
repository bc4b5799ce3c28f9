#include "plugins/compute/lm/template.h"

#include "plugins/compute/lm/model.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host/base/banned.h"

#define GENERIC "{{'<|im_start|>' + role}} ... <|im_end|>"

static lm_message message(const char *role, const char *content) {
  return (lm_message){.role = deai_str_of(role), .content = deai_str_of(content)};
}

START_TEST(unknown_templates_are_refused) {
  lm_error error = {{0}};
  ck_assert_ptr_null(lm_template_find(deai_str_of(""), &error));
  ck_assert_ptr_nonnull(strstr(error.text, "found none"));
  ck_assert_ptr_null(lm_template_find(deai_str_of("[INST] {{ x }}"), &error));
  ck_assert_ptr_nonnull(strstr(error.text, "unknown one"));
  const lm_template *chat = lm_template_find(deai_str_of(GENERIC), &error);
  ck_assert_ptr_nonnull(chat);
  ck_assert(!chat->verified);
  ck_assert_ptr_null(chat->system_prompt);
}
END_TEST

START_TEST(wrong_messages_are_refused) {
  const lm_template *chat = lm_template_find(deai_str_of(GENERIC), NULL);
  lm_rendering r;
  lm_error error = {{0}};
  lm_message bad[] = {message("", "x"), message("User", "x"), message("user\n", "x"),
                      message("a_role_of_more_than_thirty_two_letters", "x")};
  ck_assert_int_eq(lm_template_render(chat, bad, 0, &r, &error), DEAI_EINVAL);
  for (size_t i = 0; i < 4; i++)
    ck_assert_int_eq(lm_template_render(chat, &bad[i], 1, &r, &error), DEAI_EINVAL);
  lm_message big = message("user", "x");
  big.content.len = LM_TOKENIZER_TEXT_MAX + 1;
  ck_assert_int_eq(lm_template_render(chat, &big, 1, &r, &error), DEAI_ETOOLARGE);
  lm_message one = message("user", "x");
  ck_assert_int_eq(lm_template_render(chat, &one, LM_TEMPLATE_MESSAGES_MAX + 1, &r, &error),
                   DEAI_ETOOLARGE);
  ck_assert_ptr_null(r.parts);
}
END_TEST

START_TEST(only_the_templates_own_text_is_special) {
  const lm_template *chat = lm_template_find(deai_str_of(GENERIC), NULL);
  lm_message messages[] = {message("system", "<|im_end|>"), message("user", "")};
  lm_rendering r;
  ck_assert_int_eq(lm_template_render(chat, messages, 2, &r, NULL), DEAI_OK);
  const char *expected = "<|im_start|>system\n<|im_end|><|im_end|>\n<|im_start|>user\n<|im_end|>\n"
                         "<|im_start|>assistant\n";
  ck_assert_uint_eq(r.bytes_len, strlen(expected));
  ck_assert_int_eq(memcmp(r.bytes, expected, r.bytes_len), 0);
  for (size_t i = 0; i < r.part_count; i++) {
    bool own = r.parts[i].text.ptr[0] == '<' || r.parts[i].text.ptr[0] == '\n';
    ck_assert_int_eq(r.parts[i].special, own && i != 3);
  }
  lm_rendering_free(&r);
}
END_TEST

static lm_model *open_real(void) {
  const char *path = testing_model();
  if (path == NULL) return NULL;
  lm_model *model = NULL;
  lm_error error = {{0}};
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  int32_t status = lm_model_open(descriptor, 16, &model, &error);
  (void)close(descriptor);
  ck_assert_msg(status == DEAI_OK, "%s", error.text);
  return model;
}

typedef struct prompt_run {
  const lm_model *model;
  const lm_template *chat;
  size_t passed;
  size_t failed;
} prompt_run;

static void prompt_row(json_t *object, void *user) {
  prompt_run *run = user;
  json_t *expected = json_object_get(object, "prompt_ids");
  lm_message one = message("user", json_string_value(json_object_get(object, "prompt")));
  lm_rendering r;
  lm_ids ids = {0};
  ck_assert_int_eq(lm_template_render(run->chat, &one, 1, &r, NULL), DEAI_OK);
  ck_assert_int_eq(lm_tokenizer_encode(lm_model_tokenizer(run->model), r.parts, r.part_count, &ids),
                   DEAI_OK);
  bool equal = ids.len == json_array_size(expected);
  for (size_t i = 0; equal && i < ids.len; i++)
    equal = ids.ptr[i] == (uint32_t)json_integer_value(json_array_get(expected, i));
  run->passed += equal ? 1 : 0;
  run->failed += equal ? 0 : 1;
  lm_ids_free(&ids);
  lm_rendering_free(&r);
}

START_TEST(prompts_have_the_ids_of_the_reference) {
  lm_model *model = open_real();
  if (model == NULL) return;
  prompt_run run = {.model = model, .chat = lm_template_find(lm_model_template(model), NULL)};
  ck_assert_ptr_nonnull(run.chat);
  ck_assert(run.chat->verified);
  uint8_t hash[DEAI_HASH_BYTES];
  lm_template_hash(lm_model_template(model), hash);
  ck_assert_ptr_eq(lm_template_by_hash(hash), run.chat);
  ck_assert_uint_gt(testing_vector_rows("greedy", "smollm2.jsonl", prompt_row, &run), 0);
  testing_tally("template", run.passed, run.failed, 0);
  ck_assert_uint_eq(run.failed, 0);
  ck_assert(lm_model_ends(model, 0) && lm_model_ends(model, 2) && lm_model_ends(model, 4));
  ck_assert(!lm_model_ends(model, 1) && !lm_model_ends(model, 3));
  lm_model_close(model);
}
END_TEST

START_TEST(control_tokens_as_content_stay_text) {
  lm_model *model = open_real();
  if (model == NULL) return;
  const lm_tokenizer *t = lm_model_tokenizer(model);
  const lm_template *chat = lm_template_find(lm_model_template(model), NULL);
  static const char *const words[] = {
      "<|endoftext|>",    "<|im_start|>",    "<|im_end|>",     "<repo_name>",    "<reponame>",
      "<file_sep>",       "<filename>",      "<gh_stars>",     "<issue_start>",  "<issue_comment>",
      "<issue_closed>",   "<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>",
      "<jupyter_script>", "<empty_output>"};
  for (size_t i = 0; i < 17; i++) {
    ck_assert_int_eq(lm_tokenizer_find(t, deai_str_of(words[i])), (int64_t)i);
    lm_message one = message("user", words[i]);
    lm_rendering r;
    lm_ids ids = {0};
    size_t control = 0;
    ck_assert_int_eq(lm_template_render(chat, &one, 1, &r, NULL), DEAI_OK);
    ck_assert_int_eq(lm_tokenizer_encode(t, r.parts, r.part_count, &ids), DEAI_OK);
    for (size_t k = 0; k < ids.len; k++)
      control += lm_tokenizer_type(t, ids.ptr[k]) == LM_TOKEN_CONTROL ? 1 : 0;
    ck_assert_uint_eq(control, 5); /* two turns opened and closed, the answer opened */
    lm_ids_free(&ids);
    lm_rendering_free(&r);
  }
  lm_model_close(model);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("template");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, unknown_templates_are_refused);
  tcase_add_test(tests, wrong_messages_are_refused);
  tcase_add_test(tests, only_the_templates_own_text_is_special);
  tcase_add_test(tests, prompts_have_the_ids_of_the_reference);
  tcase_add_test(tests, control_tokens_as_content_stay_text);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
