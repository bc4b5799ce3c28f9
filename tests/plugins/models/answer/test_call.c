#include "plugins/models/answer/call.h"

#include "play.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static uint32_t parts_seen;

static int32_t count_part(void *user, const deai_part *part) {
  parts_seen++;
  return part->units == 9 ? DEAI_EAGAIN : *(int32_t *)user;
}

START_TEST(parts_reach_who_asked_until_it_forgets) {
  int32_t answer = DEAI_OK;
  uint64_t ticket = DEAI_NO_TICKET;
  deai_part part = {.size = (uint32_t)sizeof part, .attachment = -1};
  answer_ask ask = {.part = count_part, .user = &answer};
  play_begin((play_settings){0});
  parts_seen = 0;
  ck_assert_int_eq(answer_call_part(fake.inst, 77, &part), DEAI_OK); /* nobody's */
  ck_assert_int_eq(answer_ask_models(fake.inst, &ask, &ticket), DEAI_OK);
  ck_assert_int_eq(answer_call_part(fake.inst, ticket, &part), DEAI_OK);
  part.units = 9;
  part.flags = DEAI_PART_END;
  ck_assert_int_eq(answer_call_part(fake.inst, ticket, &part), DEAI_EAGAIN);
  part.units = 0;
  ck_assert_int_eq(answer_call_part(fake.inst, ticket, &part), DEAI_OK);
  ck_assert_int_eq(answer_call_part(fake.inst, ticket, &part), DEAI_OK); /* it is over */
  ck_assert_uint_eq(parts_seen, 3);
  ck_assert_int_eq(answer_ask_models(fake.inst, &ask, &ticket), DEAI_OK);
  answer_call_forget(fake.inst, ticket);
  answer_call_forget(fake.inst, 77);
  ck_assert(fake.calls[1].cancelled);
  ck_assert_int_eq(answer_call_part(fake.inst, ticket, &part), DEAI_OK);
  ck_assert_uint_eq(parts_seen, 3);
  fake_stop();
}
END_TEST

START_TEST(bodies_beyond_a_part_are_refused) {
  uint64_t ticket = DEAI_NO_TICKET;
  answer_ask ask = {.part = count_part};
  deai_lm_job job = {.max = 1};
  answer_text args = {0};
  uint8_t *large = calloc(1, 1048577);
  ck_assert_ptr_nonnull(large);
  deai_bytes body = {large, 1048577};
  deai_bytes map = deai_bytes_of("\xa0", 1);
  play_begin((play_settings){0});
  ck_assert_int_eq(answer_ask_encode(fake.inst, &ask, map, body, &ticket), DEAI_ETOOLARGE);
  ck_assert_int_eq(answer_ask_tokens(fake.inst, &ask, "generate", map, body, &ticket),
                   DEAI_ETOOLARGE);
  answer_args_tokens(fake.inst, &job, &args);
  ck_assert_int_eq(args.status, DEAI_EINVAL); /* no model */
  ck_assert_uint_eq(args.len, 0);
  ck_assert_int_eq(answer_ask_object(fake.inst, &ask, map, map, &ticket), DEAI_EINVAL);
  ck_assert_uint_eq(fake.call_count, 0);
  free(large);
  fake_stop();
}
END_TEST

START_TEST(random_numbers_differ) {
  uint8_t one[32];
  uint8_t two[32];
  ck_assert_int_eq(answer_random(one, sizeof one), DEAI_OK);
  ck_assert_int_eq(answer_random(two, sizeof two), DEAI_OK);
  ck_assert_mem_ne(one, two, sizeof one);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("call");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, parts_reach_who_asked_until_it_forgets);
  tcase_add_test(tests, bodies_beyond_a_part_are_refused);
  tcase_add_test(tests, random_numbers_differ);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
