#include "fixture.h"

#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static char err[400];

static int32_t open_changed(const deai_genesis *genesis) {
  static uint8_t room[DEAI_GENESIS_MAX];
  deai_genesis_box *box = NULL;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  ck_assert_msg(deai_encode(&deai_genesis_table, genesis, &writer, err, sizeof err) == DEAI_OK,
                "%s", err);
  int32_t status = deai_genesis_open(deai_bytes_of(room, writer.len), &box, err, sizeof err);
  deai_genesis_free(box);
  return status;
}

static int32_t open_with_rules(const deai_genesis *genesis, uint64_t rules) {
  deai_genesis changed = *genesis;
  deai_module_ref modules[8];
  memcpy(modules, genesis->modules.items, (size_t)genesis->modules.count * sizeof modules[0]);
  modules[1].rules = rules;
  changed.modules.items = modules;
  return open_changed(&changed);
}

START_TEST(refuses_what_this_build_cannot_run) {
  fixture net;
  fixture_start(&net, NULL);
  const deai_genesis *good = &net.genesis->genesis;
  deai_genesis changed = *good;
  ck_assert_int_eq(open_changed(good), DEAI_OK);
  ck_assert_int_eq(open_with_rules(good, 2), DEAI_EVERSION);
  ck_assert_ptr_nonnull(strstr(err, "chain/1"));
  changed.modules.count--;
  ck_assert_int_eq(open_changed(&changed), DEAI_EINVAL);
  changed = *good;
  changed.tables.count--;
  ck_assert_int_eq(open_changed(&changed), DEAI_EINVAL);
  changed = *good;
  deai_member member = ((const deai_member *)good->members.items)[0];
  member.role = DEAI_ROLE_GUEST;
  changed.members = (deai_list){&member, 1};
  ck_assert_int_eq(open_changed(&changed), DEAI_EINVAL);
  changed = *good;
  memset(changed.orderer, 0xff, sizeof changed.orderer);
  ck_assert_int_eq(open_changed(&changed), DEAI_EINVAL);
  changed = *good;
  deai_genesis_account account = ((const deai_genesis_account *)good->accounts.items)[0];
  account.a[0] ^= 1;
  changed.accounts = (deai_list){&account, 1};
  ck_assert_int_eq(open_changed(&changed), DEAI_EINVAL);
  fixture_end(&net);
}
END_TEST

START_TEST(flipped_and_cut_bytes_are_refused_or_another_network) {
  fixture net;
  fixture_start(&net, NULL);
  deai_bytes good = net.genesis->bytes;
  uint8_t *copy = malloc((size_t)good.len);
  for (uint64_t i = 0; i < good.len; i++) {
    deai_genesis_box *box = NULL;
    memcpy(copy, good.ptr, (size_t)good.len);
    copy[i] ^= 0x04;
    if (deai_genesis_open(deai_bytes_of(copy, good.len), &box, err, sizeof err) == DEAI_OK)
      ck_assert_mem_ne(box->hash, net.genesis->hash, DEAI_HASH_BYTES);
    deai_genesis_free(box);
    box = NULL;
    ck_assert_int_ne(deai_genesis_open(deai_bytes_of(good.ptr, i), &box, err, sizeof err), DEAI_OK);
  }
  free(copy);
  fixture_end(&net);
}
END_TEST

static void too_much(deai_genesis_options *options) {
  options->tx_free = 5;
  options->node_invites = 1;
}

START_TEST(builds_what_init_asks_for) {
  fixture net;
  fixture_start(&net, too_much);
  const deai_genesis *genesis = &net.genesis->genesis;
  ck_assert_uint_eq(deai_genesis_param(genesis, DEAI_PARAM_TX_FREE, 1), 5);
  ck_assert_uint_eq(deai_genesis_param(genesis, DEAI_PARAM_HOLD_MS, 1), 1000);
  ck_assert_uint_eq(deai_genesis_param(genesis, "other", 77), 77);
  const deai_genesis_account *account = genesis->accounts.items;
  ck_assert_uint_eq(account->b, DEAI_CAP_MAX);
  ck_assert_uint_eq(((const deai_account_key *)account->keys.items)[1].may.count, 6);
  fixture_end(&net);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("genesis");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, refuses_what_this_build_cannot_run);
  tcase_add_test(tests, flipped_and_cut_bytes_are_refused_or_another_network);
  tcase_add_test(tests, builds_what_init_asks_for);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
