#include "store_private.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define SLOTS_MIN 256

static uint32_t slot_of(const blocks_batch *batch, const blocks_cid *cid) {
  return blocks_crc32c(0, cid->bytes, cid->len) & (batch->slots_count - 1);
}

static void link_op(blocks_batch *batch, uint32_t i) {
  uint32_t *slot = &batch->slots[slot_of(batch, &batch->ops[i].at.cid)];
  batch->ops[i].next = *slot;
  *slot = i;
}

static int32_t grow_slots(blocks_batch *batch) {
  uint32_t count = batch->slots_count == 0 ? SLOTS_MIN : batch->slots_count * 2;
  uint32_t *slots = malloc(count * sizeof *slots);
  if (slots == NULL) return DEAI_ENOMEM;
  memset(slots, 0xff, count * sizeof *slots); /* BLOCKS_NO_OP */
  free(batch->slots);
  batch->slots = slots;
  batch->slots_count = count;
  for (uint32_t i = 0; i < batch->count; i++)
    link_op(batch, i);
  return DEAI_OK;
}

int32_t blocks_batch_add(blocks_batch *batch, const blocks_op *op) {
  if (batch->count == batch->cap) {
    uint32_t cap = batch->cap == 0 ? SLOTS_MIN : batch->cap * 2;
    blocks_op *ops = realloc(batch->ops, cap * sizeof *ops);
    if (ops == NULL) return DEAI_ENOMEM;
    batch->ops = ops;
    batch->cap = cap;
  }
  if (batch->count >= batch->slots_count) {
    int32_t status = grow_slots(batch);
    if (status != DEAI_OK) return status;
  }
  batch->ops[batch->count] = *op;
  link_op(batch, batch->count);
  batch->count++;
  batch->bytes += op->at.len;
  return DEAI_OK;
}

const blocks_op *blocks_batch_find(const blocks_batch *batch, blocks_op_kind kind,
                                   const blocks_cid *cid) {
  if (batch->slots_count == 0) return NULL;
  uint32_t i = batch->slots[slot_of(batch, cid)];
  for (; i != BLOCKS_NO_OP; i = batch->ops[i].next)
    if (batch->ops[i].kind == kind && blocks_cid_equal(&batch->ops[i].at.cid, cid))
      return &batch->ops[i];
  return NULL;
}

void blocks_batch_free(blocks_batch *batch) {
  for (uint32_t i = 0; i < batch->count; i++) {
    free(batch->ops[i].from);
    blocks_leaves_free(batch->ops[i].leaves);
  }
  free(batch->ops);
  free(batch->slots);
  free(batch->dirty);
  *batch = (blocks_batch){0};
}

blocks_leaves *blocks_leaves_new(uint32_t count) {
  blocks_leaves *leaves = calloc(1, sizeof *leaves);
  if (leaves == NULL) return NULL;
  leaves->digests = calloc(count, DEAI_HASH_BYTES);
  leaves->crcs = calloc(count, sizeof *leaves->crcs);
  leaves->here = calloc(count / 8 + 1u, 1);
  leaves->spec.leaves = count;
  if (leaves->digests != NULL && leaves->crcs != NULL && leaves->here != NULL) return leaves;
  blocks_leaves_free(leaves);
  return NULL;
}

void blocks_leaves_free(blocks_leaves *leaves) {
  if (leaves == NULL) return;
  free(leaves->digests);
  free(leaves->crcs);
  free(leaves->here);
  free(leaves);
}
