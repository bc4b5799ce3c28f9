/* Every codec table of the contracts is sound: canonical key order, limits, sub tables. */
#include "tests/testing.h"

#include "deai/contracts/blocks.h"
#include "deai/contracts/http.h"
#include "deai/contracts/ledger.h"
#include "deai/contracts/lm.h"
#include "deai/contracts/net.h"
#include "deai/contracts/rank.h"
#include "deai/contracts/wire.h"

#include "host/base/banned.h"

static const deai_table *const tables[] = {&deai_hello_head_table,
                                           &deai_window_head_table,
                                           &deai_update_head_table,
                                           &deai_log_head_table,
                                           &deai_caller_table,
                                           &deai_call_head_table,
                                           &deai_part_head_table,
                                           &deai_end_head_table,
                                           &deai_route_head_table,
                                           &deai_others_table,
                                           &deai_blocks_have_table,
                                           &deai_blocks_have_end_table,
                                           &deai_blocks_cid_table,
                                           &deai_blocks_entry_table,
                                           &deai_blocks_add_table,
                                           &deai_blocks_added_table,
                                           &deai_blocks_stat_table,
                                           &deai_blocks_progress_table,
                                           &deai_blocks_list_table,
                                           &deai_blocks_list_end_table,
                                           &deai_blocks_verify_end_table,
                                           &deai_blocks_read_table,
                                           &deai_blocks_read_end_table,
                                           &deai_blocks_entries_end_table,
                                           &deai_lm_model_table,
                                           &deai_lm_models_end_table,
                                           &deai_lm_model_ref_table,
                                           &deai_lm_encode_table,
                                           &deai_lm_sampler_table,
                                           &deai_lm_job_table,
                                           &deai_lm_tokens_table,
                                           &deai_lm_end_table,
                                           &deai_lm_offer_table,
                                           &deai_http_request_table,
                                           &deai_http_answer_table,
                                           &deai_rank_score_table,
                                           &deai_rank_scores_table,
                                           &deai_rank_observe_table,
                                           &deai_invite_table,
                                           &deai_net_join_table,
                                           &deai_net_join_end_table,
                                           &deai_net_channel_table,
                                           &deai_net_channel_end_table,
                                           &deai_ledger_head_end_table,
                                           &deai_ledger_follow_table,
                                           &deai_ledger_slice_table,
                                           &deai_ledger_submit_end_table,
                                           &deai_ledger_query_table,
                                           &deai_ledger_object_table,
                                           &deai_ledger_query_end_table,
                                           &deai_genesis_table,
                                           &deai_tx_table,
                                           &deai_block_table,
                                           &deai_block_entry_table,
                                           &deai_op_create_table,
                                           &deai_op_key_add_table,
                                           &deai_op_key_rm_table,
                                           &deai_op_transfer_table,
                                           &deai_op_open_table,
                                           &deai_op_topup_table,
                                           &deai_op_claim_table,
                                           &deai_op_object_table,
                                           &deai_op_verdict_table,
                                           &deai_op_close_table,
                                           &deai_op_member_add_table,
                                           &deai_op_member_rm_table,
                                           &deai_op_put_table,
                                           &deai_op_rm_table,
                                           &deai_op_orderer_table,
                                           &deai_op_upgrade_table,
                                           &deai_voucher_table,
                                           &deai_receipt_table,
                                           &deai_node_record_table,
                                           &deai_job_file_table,
                                           &deai_model_record_table};

START_TEST(a_head_of_another_shape_is_refused) {
  char err[256] = "";
  deai_window_head head;
  static const uint8_t list[] = {0x80};
  ck_assert_int_eq(
      deai_decode(&deai_window_head_table, deai_bytes_of(list, 1), &head, NULL, err, sizeof err),
      DEAI_EINVAL);
  ck_assert_ptr_nonnull(strstr(err, "window"));
}
END_TEST

START_TEST(every_table_is_sound) {
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
    char err[256] = "";
    ck_assert_msg(deai_table_check(tables[i], err, sizeof err) == DEAI_OK, "%s: %s",
                  tables[i]->name, err);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("contracts");
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, a_head_of_another_shape_is_refused);
  tcase_add_test(tests, every_table_is_sound);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
