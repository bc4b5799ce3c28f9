#include "fixture.h"

#include "tests/testing.h"

#include "host/base/file.h"
#include "host/ledger/state.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define KEYS 200

static char err[300];

/* What the state must hold, kept the simple way. */
typedef struct model {
  int32_t there[KEYS];
  uint32_t value[KEYS];
} model;

static uint32_t random_next(uint32_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 17;
  *seed ^= *seed << 5;
  return *seed;
}

static deai_state *open_state(const fixture *net, const char *name) {
  char path[4200];
  deai_state *state = NULL;
  ck_assert_int_eq(deai_path_join(path, sizeof path, testing_folder(), name), DEAI_OK);
  int32_t status = deai_state_open(path, &net->genesis->genesis, 64u << 20, DEAI_STATE_SYNC, &state,
                                   err, sizeof err);
  ck_assert_msg(status == DEAI_OK, "%s", err);
  return state;
}

static void commit(deai_state *state, uint64_t height) {
  deai_state_commit out;
  memset(&out, 0, sizeof out);
  out.head.height = height;
  ck_assert_int_eq(deai_state_root(state, out.head.root), DEAI_OK);
  ck_assert_int_eq(deai_state_commit_block(state, &out, err, sizeof err), DEAI_OK);
}

static void change(deai_state *state, uint32_t table, model *want, uint32_t *seed) {
  uint32_t key = random_next(seed) % KEYS;
  deai_bytes name = deai_bytes_of(&key, sizeof key);
  if (random_next(seed) % 3 == 0) {
    ck_assert_int_eq(deai_state_del(state, table, name),
                     want->there[key] ? DEAI_OK : DEAI_ENOTFOUND);
    want->there[key] = 0;
    return;
  }
  uint32_t value = random_next(seed);
  ck_assert_int_eq(deai_state_put(state, table, name, deai_bytes_of(&value, sizeof value)),
                   DEAI_OK);
  want->there[key] = 1;
  want->value[key] = value;
}

typedef struct walk_check {
  const model *want;
  uint32_t count;
  uint8_t last[4];
  int32_t sorted;
} walk_check;

static int32_t check_each(void *user, deai_bytes key, deai_bytes value) {
  walk_check *check = user;
  uint32_t number;
  ck_assert_uint_eq(key.len, 4);
  memcpy(&number, key.ptr, 4);
  ck_assert_uint_lt(number, KEYS);
  ck_assert_int_eq(check->want->there[number], 1);
  ck_assert_mem_eq(value.ptr, &check->want->value[number], 4);
  if (check->count > 0 && memcmp(check->last, key.ptr, 4) >= 0) check->sorted = 0;
  memcpy(check->last, key.ptr, 4);
  check->count++;
  return DEAI_OK;
}

static void check_all(deai_state *state, uint32_t table, const model *want, int32_t one_bucket) {
  walk_check check = {want, 0, {0}, 1};
  uint32_t count = 0;
  ck_assert_int_eq(deai_state_each(state, table, deai_bytes_of(NULL, 0), check_each, &check),
                   DEAI_OK);
  for (uint32_t key = 0; key < KEYS; key++) {
    deai_bytes value;
    int32_t status = deai_state_get(state, table, deai_bytes_of(&key, sizeof key), &value);
    ck_assert_int_eq(status, want->there[key] ? DEAI_OK : DEAI_ENOTFOUND);
    if (status == DEAI_OK) ck_assert_mem_eq(value.ptr, &want->value[key], 4);
    count += (uint32_t)want->there[key];
  }
  ck_assert_uint_eq(check.count, count);
  if (one_bucket) ck_assert_int_eq(check.sorted, 1);
}

/* The root depends on the records alone: a state that got them in one block has the same. */
static void check_root(const fixture *net, uint32_t table, const model *want,
                       const uint8_t root[DEAI_HASH_BYTES], uint32_t round) {
  char name[32];
  uint8_t other[DEAI_HASH_BYTES];
  (void)snprintf(name, sizeof name, "other-%u-%u", table, round);
  deai_state *state = open_state(net, name);
  for (uint32_t key = KEYS; key-- > 0;) {
    if (want->there[key])
      ck_assert_int_eq(deai_state_put(state, table, deai_bytes_of(&key, sizeof key),
                                      deai_bytes_of(&want->value[key], 4)),
                       DEAI_OK);
  }
  ck_assert_int_eq(deai_state_root(state, other), DEAI_OK);
  ck_assert_mem_eq(other, root, sizeof other);
  deai_state_close(state);
}

static void random_blocks(const fixture *net, const char *module, const char *table_name,
                          int32_t one_bucket) {
  char name[32];
  deai_state *state;
  model want, before;
  uint8_t root[DEAI_HASH_BYTES];
  uint32_t seed = 42;
  memset(&want, 0, sizeof want);
  (void)snprintf(name, sizeof name, "state-%s", table_name);
  state = open_state(net, name);
  ck_assert_int_eq(deai_state_is_new(state), 1);
  int32_t table = deai_state_table(state, deai_str_of(module), deai_str_of(table_name));
  ck_assert_int_ge(table, 0);
  for (uint32_t round = 1; round <= 30; round++) {
    for (uint32_t i = 0; i < 20; i++) {
      uint64_t mark = deai_state_mark(state);
      before = want;
      for (uint32_t k = 0; k < 4; k++)
        change(state, (uint32_t)table, &want, &seed);
      if (random_next(&seed) % 4 != 0) continue;
      deai_state_rollback(state, mark);
      want = before;
    }
    check_all(state, (uint32_t)table, &want, one_bucket);
    commit(state, round);
    check_all(state, (uint32_t)table, &want, one_bucket);
    ck_assert_int_eq(deai_state_check(state, err, sizeof err), DEAI_OK);
    before = want;
    change(state, (uint32_t)table, &want, &seed);
    deai_state_discard(state);
    want = before;
    if (round % 10 != 0) continue;
    memcpy(root, deai_state_head_get(state).root, sizeof root);
    check_root(net, (uint32_t)table, &want, root, round);
    deai_state_close(state);
    state = open_state(net, name);
    ck_assert_uint_eq(deai_state_head_get(state).height, round);
  }
  deai_state_close(state);
}

START_TEST(limits_are_refused) {
  static uint8_t large[DEAI_LEDGER_VALUE_MAX + 1];
  fixture net;
  deai_bytes value;
  fixture_start(&net, NULL);
  deai_state *state = open_state(&net, "limits");
  ck_assert_int_eq(deai_state_table(state, deai_str_of("account/1"), deai_str_of("x")), -1);
  ck_assert_int_eq(deai_state_put(state, 999, deai_bytes_of("k", 1), deai_bytes_of("v", 1)),
                   DEAI_EINVAL);
  ck_assert_int_eq(deai_state_put(state, 0, deai_bytes_of(large, DEAI_LEDGER_KEY_MAX + 1),
                                  deai_bytes_of("v", 1)),
                   DEAI_EINVAL);
  ck_assert_int_eq(
      deai_state_put(state, 0, deai_bytes_of("k", 1), deai_bytes_of(large, sizeof large)),
      DEAI_EINVAL);
  ck_assert_int_eq(deai_state_put(state, 0, deai_bytes_of(large, DEAI_LEDGER_KEY_MAX),
                                  deai_bytes_of(large, DEAI_LEDGER_VALUE_MAX)),
                   DEAI_OK);
  commit(state, 1);
  ck_assert_int_eq(deai_state_get(state, 0, deai_bytes_of(large, DEAI_LEDGER_KEY_MAX), &value),
                   DEAI_OK);
  ck_assert_uint_eq(value.len, DEAI_LEDGER_VALUE_MAX);
  deai_state_close(state);
  deai_state_close(NULL);
  fixture_end(&net);
}
END_TEST

START_TEST(random_blocks_against_a_model) {
  fixture net;
  fixture_start(&net, NULL);
  random_blocks(&net, "account/1", "accounts", 0);
  random_blocks(&net, "channel/1", "due", 1);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("state");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, limits_are_refused);
  tcase_add_test(tests, random_blocks_against_a_model);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
