#include "store_private.h"

#include <string.h>

#include "host/base/banned.h"

int32_t blocks_apply_flush(blocks_apply *apply) {
  int32_t status = DEAI_OK;
  if (apply->bits_loaded)
    status = blocks_index_bits_put(apply->index, apply->txn, apply->file.number, apply->segment,
                                   apply->bits);
  if (status == DEAI_OK && apply->file.number != 0)
    status = blocks_index_file_put(apply->index, apply->txn, &apply->file, false);
  apply->bits_loaded = false;
  apply->file.number = 0;
  return status;
}

static int32_t load_leaf(blocks_apply *apply, uint64_t number, uint32_t leaf) {
  if (apply->file.number != number) {
    int32_t status = blocks_apply_flush(apply);
    if (status == DEAI_OK)
      status = blocks_index_file(apply->index, apply->txn, number, &apply->file);
    if (status != DEAI_OK) {
      apply->file.number = 0;
      return status;
    }
  }
  uint32_t segment = leaf / BLOCKS_SEGMENT_LEAVES;
  if (apply->bits_loaded && apply->segment == segment) return DEAI_OK;
  if (apply->bits_loaded) {
    int32_t status =
        blocks_index_bits_put(apply->index, apply->txn, number, apply->segment, apply->bits);
    if (status != DEAI_OK) return status;
  }
  apply->segment = segment;
  apply->bits_loaded = true;
  return blocks_index_bits(apply->index, apply->txn, number, segment, apply->bits);
}

/* sets or clears the bit of the leaf at place and keeps the count; the place itself too */
static int32_t turn_leaf(blocks_apply *apply, blocks_place place, bool here) {
  uint64_t number = place.store & ~BLOCKS_STORE_FILE;
  blocks_file_spec file;
  int32_t status = DEAI_OK;
  if (apply->file.number == number)
    file = apply->file;
  else
    status = blocks_index_file(apply->index, apply->txn, number, &file);
  if (status == DEAI_ENOTFOUND) /* the file was dropped meanwhile */
    return blocks_index_place_drop(apply->index, apply->txn, &place);
  if (status != DEAI_OK) return status;
  if (place.offset >= file.size) return DEAI_EVERIFY;
  uint32_t leaf = (uint32_t)(place.offset / file.leaf_bytes);
  status = load_leaf(apply, number, leaf);
  if (status != DEAI_OK) return status;
  uint8_t *byte = &apply->bits[leaf % BLOCKS_SEGMENT_LEAVES / 8];
  uint8_t bit = (uint8_t)(1u << (leaf % 8));
  bool was = (*byte & bit) != 0;
  if (here && !was) apply->file.have++;
  if (!here && was) apply->file.have--;
  *byte = (uint8_t)(here ? *byte | bit : *byte & ~bit);
  uint64_t left = file.size - place.offset;
  place.len = left < file.leaf_bytes ? (uint32_t)left : file.leaf_bytes;
  place.flags = here ? BLOCKS_PLACE_HERE : 0;
  return blocks_index_place_put(apply->index, apply->txn, &place);
}

static int32_t apply_segments(blocks_apply *apply, const blocks_leaves *leaves) {
  uint8_t bits[BLOCKS_SEGMENT_BYTES];
  uint32_t bytes = leaves->spec.leaves / 8 + 1;
  int32_t status = DEAI_OK;
  for (uint32_t at = 0; at < bytes && status == DEAI_OK; at += sizeof bits) {
    uint32_t len = bytes - at < sizeof bits ? bytes - at : (uint32_t)sizeof bits;
    memset(bits, 0, sizeof bits);
    memcpy(bits, leaves->here + at, len);
    status = blocks_index_bits_put(apply->index, apply->txn, leaves->spec.number,
                                   (uint32_t)(at / sizeof bits), bits);
  }
  return status;
}

static blocks_place leaf_place(const blocks_apply *apply, const blocks_leaves *leaves, uint32_t i) {
  const blocks_file_spec *spec = &leaves->spec;
  uint64_t offset = (uint64_t)i * spec->leaf_bytes;
  uint64_t left = spec->size - offset;
  bool here = (leaves->here[i / 8] >> (i % 8) & 1) != 0;
  return (blocks_place){.cid = blocks_leaf_cid(leaves->digests + (size_t)i * DEAI_HASH_BYTES),
                        .store = spec->number | BLOCKS_STORE_FILE,
                        .offset = offset,
                        .len = left < spec->leaf_bytes ? (uint32_t)left : spec->leaf_bytes,
                        .crc = leaves->crcs[i],
                        .flags = here ? BLOCKS_PLACE_HERE : 0,
                        .born = apply->born};
}

static int32_t apply_file(blocks_apply *apply, const blocks_leaves *leaves, bool *skipped) {
  blocks_file_spec other;
  int32_t status = blocks_apply_flush(apply);
  if (status != DEAI_OK) return status;
  status = blocks_index_file_of_root(apply->index, apply->txn, &leaves->spec.root, &other);
  if (status == DEAI_OK && other.number != leaves->spec.number && !apply->replace) {
    *skipped = true;
    return DEAI_OK;
  }
  if (status != DEAI_OK && status != DEAI_ENOTFOUND && status != DEAI_EVERIFY) return status;
  blocks_file_spec spec = leaves->spec;
  spec.born = apply->born;
  status = blocks_index_file_put(apply->index, apply->txn, &spec, true);
  if (status == DEAI_OK) status = apply_segments(apply, leaves);
  for (uint32_t i = 0; i < leaves->spec.leaves && status == DEAI_OK; i++) {
    blocks_place place = leaf_place(apply, leaves, i);
    status = blocks_index_place_put(apply->index, apply->txn, &place);
  }
  return status;
}

static int32_t apply_move(blocks_apply *apply, const blocks_op *op) {
  int32_t there = blocks_index_place_has(apply->index, apply->txn, op->from);
  if (there <= 0) return there; /* dropped meanwhile: the copy is garbage too */
  blocks_place at = op->at;
  at.born = op->from->born;
  int32_t status = blocks_index_place_drop(apply->index, apply->txn, op->from);
  return status == DEAI_OK ? blocks_index_place_put(apply->index, apply->txn, &at) : status;
}

int32_t blocks_apply_op(blocks_apply *apply, const blocks_op *op, bool *skipped) {
  blocks_place at = op->at;
  bool ignored = false;
  at.born = apply->born;
  switch (op->kind) {
  case BLOCKS_OP_BLOCK:
    return blocks_index_place_put(apply->index, apply->txn, &at);
  case BLOCKS_OP_LEAF:
    return turn_leaf(apply, at, true);
  case BLOCKS_OP_FILE:
    return apply_file(apply, op->leaves, skipped ? skipped : &ignored);
  case BLOCKS_OP_PIN:
    return blocks_index_pin_put(apply->index, apply->txn, &at.cid, op->count);
  case BLOCKS_OP_MOVE:
    return apply_move(apply, op);
  }
  return DEAI_EINTERNAL;
}

int32_t blocks_apply_missing(blocks_apply *apply, const blocks_place *place) {
  blocks_file_spec file;
  int32_t there = blocks_index_place_has(apply->index, apply->txn, place);
  if (there <= 0) return there;
  if ((place->store & BLOCKS_STORE_FILE) != 0) {
    int32_t known =
        blocks_index_file(apply->index, apply->txn, place->store & ~BLOCKS_STORE_FILE, &file);
    if (known == DEAI_ENOTFOUND) /* left by a collection that was cut off: garbage, no damage */
      return blocks_index_place_drop(apply->index, apply->txn, place);
  }
  int32_t status = (place->store & BLOCKS_STORE_FILE) != 0
                       ? turn_leaf(apply, *place, false)
                       : blocks_index_place_drop(apply->index, apply->txn, place);
  return status == DEAI_OK ? 1 : status;
}
