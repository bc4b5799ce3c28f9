#include "deai/contracts/rank.h"

static const deai_field key_rows[] = {DEAI_F_FIXED(deai_rank_key, key, NULL, DEAI_KEY_BYTES)};
static const deai_table key_table = DEAI_TABLE_BARE("rank-key", deai_rank_key, key_rows);

static const deai_field score_rows[] = {
    DEAI_F_CID_OPT(deai_rank_score, model, "model"),
    DEAI_F_LIST_OF(deai_rank_score, nodes, "nodes", 0, DEAI_RANK_NODES_MAX, &key_table),
    DEAI_F_TEXT(deai_rank_score, service, "service", 1, DEAI_NAME_MAX),
};
const deai_table deai_rank_score_table = DEAI_TABLE_HEAD("rank-score", deai_rank_score, score_rows);

static const deai_field row_rows[] = {
    DEAI_F_TEXT(deai_rank_row, why, "why", 0, 256),
    DEAI_F_FIXED(deai_rank_row, node, "node", DEAI_KEY_BYTES),
    DEAI_F_UINT(deai_rank_row, score, "score", 0, UINT32_MAX),
};
static const deai_table row_table = DEAI_TABLE_HEAD("rank-row", deai_rank_row, row_rows);

static const deai_field scores_rows[] = {
    DEAI_F_LIST_OF(deai_rank_scores, scores, "scores", 0, DEAI_RANK_NODES_MAX, &row_table),
};
const deai_table deai_rank_scores_table =
    DEAI_TABLE_HEAD("rank-scores", deai_rank_scores, scores_rows);

static const char *const audit_names[] = {"none", "equal", "unequal", NULL};

static const deai_field observe_rows[] = {
    DEAI_F_UINT(deai_rank_observe, n, "n", 0, UINT64_MAX),
    DEAI_F_BOOL(deai_rank_observe, ok, "ok"),
    DEAI_F_FIXED(deai_rank_observe, node, "node", DEAI_KEY_BYTES),
    DEAI_F_UINT(deai_rank_observe, paid, "paid", 0, UINT64_MAX),
    DEAI_F_ENUM(deai_rank_observe, audit, "audit", audit_names),
    DEAI_F_TEXT(deai_rank_observe, service, "service", 1, DEAI_NAME_MAX),
    DEAI_F_UINT(deai_rank_observe, first_ms, "first_ms", 0, UINT32_MAX),
};
const deai_table deai_rank_observe_table =
    DEAI_TABLE_HEAD("rank-observe", deai_rank_observe, observe_rows);
