#include "deai/contracts/lm.h"

static const deai_field model_rows[] = {
    DEAI_F_UINT(deai_lm_model, ctx, "ctx", 1, UINT32_MAX),
    DEAI_F_UINT(deai_lm_model, load, "load", 0, UINT32_MAX),
    DEAI_F_TEXT(deai_lm_model, name, "name", 1, DEAI_NAME_MAX),
    DEAI_F_CID(deai_lm_model, model, "model"),
    DEAI_F_UINT(deai_lm_model, price_in, "price_in", 0, UINT64_MAX),
    DEAI_F_FIXED(deai_lm_model, template_hash, "template", DEAI_HASH_BYTES),
    DEAI_F_UINT(deai_lm_model, price_out, "price_out", 0, UINT64_MAX),
};
const deai_table deai_lm_model_table = DEAI_TABLE_HEAD("lm-model", deai_lm_model, model_rows);

static const deai_field models_end_rows[] = {
    DEAI_F_LIST_OF(deai_lm_models_end, models, "models", 0, 64, &deai_lm_model_table),
};
const deai_table deai_lm_models_end_table =
    DEAI_TABLE_HEAD("lm-models-end", deai_lm_models_end, models_end_rows);

static const deai_field model_ref_rows[] = {DEAI_F_CID(deai_lm_model_ref, model, "model")};
const deai_table deai_lm_model_ref_table =
    DEAI_TABLE_HEAD("lm-model-ref", deai_lm_model_ref, model_ref_rows);

static const deai_field text_rows[] = {
    DEAI_F_UINT(deai_lm_text, len, NULL, 0, 1048576),
    DEAI_F_BOOL(deai_lm_text, special, NULL),
};
static const deai_table text_table = DEAI_TABLE_TUPLE("lm-encode.part", deai_lm_text, text_rows);

static const deai_field encode_rows[] = {
    DEAI_F_CID(deai_lm_encode, model, "model"),
    DEAI_F_LIST_OF(deai_lm_encode, parts, "parts", 1, 4096, &text_table),
};
const deai_table deai_lm_encode_table = DEAI_TABLE_HEAD("lm-encode", deai_lm_encode, encode_rows);

static const deai_field sampler_rows[] = {
    DEAI_F_UINT(deai_lm_sampler, k, "k", 0, UINT32_MAX),
    DEAI_F_UINT(deai_lm_sampler, p, "p", 0, 1000000),
    DEAI_F_UINT(deai_lm_sampler, t, "t", 0, 1000000000),
    DEAI_F_UINT(deai_lm_sampler, seed, "seed", 0, UINT64_MAX),
};
const deai_table deai_lm_sampler_table =
    DEAI_TABLE_SIGNED("lm-sampler", deai_lm_sampler, sampler_rows);

static const deai_field job_rows[] = {
    DEAI_F_UINT(deai_lm_job, ids, "ids", 0, DEAI_LM_IDS_MAX),
    DEAI_F_UINT(deai_lm_job, max, "max", 1, DEAI_LM_IDS_MAX),
    DEAI_F_LIST(deai_lm_job, stop, "stop", DEAI_FIELD_BYTES, 0, DEAI_LM_STOP_MAX, 256),
    DEAI_F_CID(deai_lm_job, model, "model"),
    DEAI_F_UINT(deai_lm_job, forced, "forced", 0, DEAI_LM_IDS_MAX),
    DEAI_F_STRUCT(deai_lm_job, sampler, "sampler", &deai_lm_sampler_table),
    DEAI_F_UINT(deai_lm_job, logprobs, "logprobs", 0, DEAI_LM_LOGPROBS_MAX),
};
const deai_table deai_lm_job_table = DEAI_TABLE_HEAD("lm-job", deai_lm_job, job_rows);

static const deai_field logprob_rows[] = {
    DEAI_F_UINT(deai_lm_logprob, id, NULL, 0, UINT32_MAX),
    DEAI_F_INT(deai_lm_logprob, logprob, NULL),
};
static const deai_table logprob_table =
    DEAI_TABLE_TUPLE("lm-tokens.lp", deai_lm_logprob, logprob_rows);

static const deai_field logprobs_rows[] = {
    DEAI_F_LIST_OF(deai_lm_logprobs, items, NULL, 1, DEAI_LM_LOGPROBS_MAX + 1, &logprob_table),
};
static const deai_table logprobs_table =
    DEAI_TABLE_BARE("lm-tokens.lp", deai_lm_logprobs, logprobs_rows);

static const deai_field tokens_rows[] = {
    DEAI_F_LIST_OF_OPT(deai_lm_tokens, lp, "lp", 0, 1024, &logprobs_table),
    DEAI_F_LIST(deai_lm_tokens, ids, "ids", DEAI_FIELD_UINT, 1, 1024, UINT32_MAX),
    DEAI_F_BYTES(deai_lm_tokens, text, "text", 0, 32768),
};
const deai_table deai_lm_tokens_table = DEAI_TABLE_HEAD("lm-tokens", deai_lm_tokens, tokens_rows);

static const char *const finish_names[] = {"stop", "length", "cancel", NULL};

static const deai_field end_rows[] = {
    DEAI_F_UINT(deai_lm_end, n, "n", 0, DEAI_LM_IDS_MAX),
    DEAI_F_FIXED(deai_lm_end, root, "root", DEAI_HASH_BYTES),
    DEAI_F_CID(deai_lm_end, model, "model"),
    DEAI_F_UINT(deai_lm_end, rules, "rules", 1, UINT32_MAX),
    DEAI_F_UINT_OPT(deai_lm_end, wrong, "wrong", 0, DEAI_LM_IDS_MAX),
    DEAI_F_ENUM_OPT(deai_lm_end, finish, "finish", finish_names),
    DEAI_F_STRUCT(deai_lm_end, sampler, "sampler", &deai_lm_sampler_table),
};
const deai_table deai_lm_end_table = DEAI_TABLE_HEAD("lm-end", deai_lm_end, end_rows);

static const deai_field offer_rows[] = {
    DEAI_F_LIST(deai_lm_offer, models, "models", DEAI_FIELD_CID, 0, 32, DEAI_CID_MAX),
    DEAI_F_UINT(deai_lm_offer, price_in, "price_in", 0, UINT64_MAX),
    DEAI_F_UINT(deai_lm_offer, price_out, "price_out", 0, UINT64_MAX),
};
const deai_table deai_lm_offer_table = DEAI_TABLE_HEAD("lm-offer", deai_lm_offer, offer_rows);
