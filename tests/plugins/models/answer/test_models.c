#include "play.h"

#include "plugins/models/answer/models.h"

#include <stdio.h>
#include <string.h>

#include "host/base/banned.h"

/* offer ends the open `models` with one model; seed makes its CID. */
static void offer(const uint8_t *provider, const char *name, uint8_t seed) {
  uint8_t cid[] = {1, 0x55, 0x12, 4, seed, seed, seed, seed};
  deai_lm_model row = {
      .ctx = seed, .name = deai_str_of(name), .model = deai_bytes_of(cid, sizeof cid)};
  deai_lm_models_end end = {.models = {&row, 1}};
  fake_call *call = fake_open("models");
  ck_assert_ptr_nonnull(call);
  (void)fake_end(call, DEAI_OK, fake_encode(&deai_lm_models_end_table, &end), provider,
                 (deai_bytes){NULL, 0});
}

static const char *id_at(json_t *json, size_t index) {
  return json_string_value(
      json_object_get(json_array_get(json_object_get(json, "data"), index), "id"));
}

START_TEST(a_list_without_form_is_left_out) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("GET", "/v1/models", NULL);
  (void)fake_end(fake_open("models"), DEAI_OK, deai_bytes_of("\x01", 1), play_alpha,
                 (deai_bytes){NULL, 0});
  fake_fail(fake_open("models"), DEAI_ENOPROVIDER, NULL);
  ck_assert_str_eq(fake_answer_of(ticket)->body, "{\"object\":\"list\",\"data\":[]}");
  ck_assert_ptr_nonnull(strstr(fake.logs, "a list of models was refused"));
  fake_stop();
}
END_TEST

START_TEST(this_node_and_every_member_are_asked_once) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("GET", "/v1/models", NULL);
  ck_assert_uint_eq(fake_open("models")->flags, DEAI_CALL_HERE);
  fake_fail(fake_open("models"), DEAI_ENOPROVIDER, NULL); /* none here */
  ck_assert_uint_eq(fake_open("models")->flags, DEAI_CALL_AWAY);
  offer(play_alpha, "m", 1);
  ck_assert_uint_eq(fake_open("models")->avoid_count, 1);
  ck_assert_mem_eq(fake_open("models")->avoid[0], play_alpha, DEAI_KEY_BYTES);
  offer(play_beta, "m", 2); /* another model of the same name */
  ck_assert_uint_eq(fake_open("models")->avoid_count, 2);
  ck_assert_uint_eq(fake_answer_of(ticket)->ends, 0);
  fake_fail(fake_open("models"), DEAI_ENOPROVIDER, NULL);
  json_t *json = play_json(ticket);
  ck_assert_str_eq(id_at(json, 0), "m");
  ck_assert_str_eq(id_at(json, 1), "bafkrebacaibae");
  json_decref(json);
  fake_stop();
}
END_TEST

START_TEST(the_list_is_kept_for_a_while) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("GET", "/v1/models/m", NULL);
  play_models(100);
  ck_assert_uint_eq(fake_answer_of(ticket)->http_status, 200);
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "\"id\":\"m\",\"object\":\"model\""));
  ticket = fake_http("GET", "/v1/models/none", NULL);
  ck_assert_uint_eq(fake_answer_of(ticket)->http_status, 404);
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "\"code\":\"model_not_found\""));
  ck_assert_ptr_null(fake_open("models"));
  fake_timers_run();
  (void)fake_http("GET", "/v1/models/none", NULL);
  ck_assert_ptr_nonnull(fake_open("models"));
  fake_stop();
}
END_TEST

START_TEST(a_model_here_does_not_wait_for_members) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("GET", "/v1/models/m", NULL);
  offer(play_alpha, "m", 1);
  ck_assert_uint_eq(fake_answer_of(ticket)->http_status, 200);
  ck_assert_ptr_nonnull(fake_open("models")); /* the members are still being asked */
  ticket = fake_http("GET", "/v1/models/m", NULL);
  ck_assert_uint_eq(fake_answer_of(ticket)->http_status, 200);
  ticket = fake_http("GET", "/v1/models/n", NULL);
  fake_cancel(ticket);
  offer(play_beta, "n", 2);
  fake_fail(fake_open("models"), DEAI_ETIMEDOUT, NULL);
  fake_stop();
}
END_TEST

START_TEST(default_is_the_first_or_what_the_settings_say) {
  play_begin((play_settings){0});
  uint64_t ticket = fake_http("GET", "/v1/models/default", NULL);
  play_models(100);
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "\"cid\":\"bafkrebg6vw7o6\""));
  fake_stop();
  play_begin((play_settings){.preset = "o"});
  ticket = fake_http("GET", "/v1/models/default", NULL);
  play_models(100);
  ck_assert_ptr_nonnull(strstr(fake_answer_of(ticket)->body, "\"cid\":\"bafkrebabaibqi\""));
  fake_stop();
}
END_TEST

int main(void) {
  Suite *suite = suite_create("models");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, a_list_without_form_is_left_out);
  tcase_add_test(tests, this_node_and_every_member_are_asked_once);
  tcase_add_test(tests, the_list_is_kept_for_a_while);
  tcase_add_test(tests, a_model_here_does_not_wait_for_members);
  tcase_add_test(tests, default_is_the_first_or_what_the_settings_say);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
