/* read and entries: what a path below a CID leads to. */
#include "task.h"

#include <inttypes.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define READS_MAX         128u
#define ENTRIES_CALLS_MAX 32u
#define ENTRIES_MAX       4096u /* in one answer */
#define ENTRY_ROOM_BYTES  32u   /* of CBOR around an entry */
#define DIRECTORY_BYTES   (256u << 20)
#define DIRECTORY_BLOCKS  65536u
#define NOT_LIMITED       UINT64_MAX

typedef struct read_state {
  deai_blocks_read ask;
  blocks_cid cid; /* the root, then what the path leads to */
  blocks_reader *reader;
  blocks_buf target; /* of a symbolic link */
  uint64_t off;
  uint64_t left;
} read_state;

static int32_t begin_read(blocks_task *task, const deai_part *first, char *err, uint32_t err_cap) {
  (void)first;
  read_state *state = task->state;
  int32_t status =
      deai_decode(&deai_blocks_read_table, task->given, &state->ask, NULL, err, err_cap);
  if (status != DEAI_OK) return status;
  state->off = (state->ask.has & DEAI_BLOCKS_READ_HAS_OFF) != 0 ? state->ask.off : 0;
  state->left = (state->ask.has & DEAI_BLOCKS_READ_HAS_LEN) != 0 ? state->ask.len : NOT_LIMITED;
  return blocks_task_cid(state->ask.cid, &state->cid, err, err_cap);
}

static int32_t resolve(blocks_task *task) {
  read_state *state = task->state;
  blocks_cid root = state->cid;
  if ((state->ask.has & DEAI_BLOCKS_READ_HAS_PATH) == 0) return DEAI_OK;
  return blocks_resolve(blocks_store_source(task->store), &root, state->ask.path, &state->cid,
                        &task->err, NULL, NULL);
}

/* ---- read ---- */

static uint32_t kind_of(blocks_unixfs_type type) {
  if (type == BLOCKS_UNIXFS_SYMLINK) return DEAI_BLOCKS_LINK;
  return type == BLOCKS_UNIXFS_DIRECTORY || type == BLOCKS_UNIXFS_HAMT ? DEAI_BLOCKS_DIR
                                                                       : DEAI_BLOCKS_FILE;
}

static int32_t read_head(blocks_task *task) {
  read_state *state = task->state;
  blocks_info info;
  blocks_source source = blocks_store_source(task->store);
  int32_t status = resolve(task);
  if (status == DEAI_OK) status = blocks_info_read(source, &state->cid, &info, &task->err);
  if (status != DEAI_OK) return status;
  deai_blocks_read_end head = {.cid = blocks_cid_bytes(&state->cid), .kind = kind_of(info.type)};
  if (head.kind != DEAI_BLOCKS_DIR) head.size = info.size;
  uint64_t behind = state->off < head.size ? head.size - state->off : 0;
  if (state->left > behind) state->left = behind;
  if (head.kind == DEAI_BLOCKS_FILE)
    status = blocks_reader_open(source, &state->cid, (blocks_caps){0}, &state->reader, &task->err);
  if (head.kind == DEAI_BLOCKS_LINK)
    status = blocks_symlink_read(source, &state->cid, &state->target, &task->err);
  if (status == DEAI_OK) status = blocks_task_args(task, &deai_blocks_read_end_table, &head);
  if (status != DEAI_OK) return status;
  return state->left > 0 ? BLOCKS_NEXT_AGAIN : BLOCKS_NEXT_END;
}

int32_t blocks_task_read(blocks_task *task, blocks_reader *reader, uint64_t offset, deai_buf room) {
  uint64_t at = 0;
  while (at < room.cap) {
    int64_t got = blocks_reader_read(reader, offset + at, (deai_buf){room.ptr + at, room.cap - at},
                                     &task->err);
    if (got < 0) return (int32_t)got;
    if (got == 0)
      return blocks_fail(&task->err, DEAI_EINVAL, "read: the file ends before its size");
    at += (uint64_t)got;
  }
  return DEAI_OK;
}

static int32_t step_read(blocks_task *task) {
  read_state *state = task->state;
  uint8_t *room = NULL;
  if (state->reader == NULL && state->target.len == 0) return read_head(task);
  uint64_t len = state->left < BLOCKS_PART_BYTES ? state->left : BLOCKS_PART_BYTES;
  int32_t status = blocks_task_body(task, len, &room);
  if (status != DEAI_OK) return status;
  if (state->reader != NULL) {
    status = blocks_task_read(task, state->reader, state->off, (deai_buf){room, len});
  } else {
    memcpy(room, state->target.ptr + state->off, (size_t)len);
  }
  if (status != DEAI_OK) return status;
  state->off += len;
  state->left -= len;
  return state->left > 0 ? BLOCKS_NEXT_AGAIN : BLOCKS_NEXT_END;
}

static void close_read(blocks_task *task) {
  read_state *state = task->state;
  if (state == NULL) return;
  blocks_reader_close(state->reader);
  state->reader = NULL;
  blocks_buf_free(&state->target);
}

const blocks_method blocks_method_read = {.service = DEAI_BLOCKS_SERVICE,
                                          .name = "read",
                                          .number = 9,
                                          .max = READS_MAX,
                                          .state_bytes = sizeof(read_state),
                                          .begin = begin_read,
                                          .step = step_read,
                                          .close = close_read};

/* ---- entries: off and len count entries, so that a large directory is asked for in pieces ---- */

typedef struct listing {
  blocks_task *task;
  uint64_t seen;
  uint64_t bytes; /* of the head so far */
  bool cut;       /* it does not fit */
  uint32_t count;
  blocks_cid *cids;
  blocks_buf names; /* one behind the other */
  uint32_t *name_ends;
} listing;

static int32_t entry_put(listing *list, deai_bytes name, const blocks_cid *cid) {
  deai_str text = {(const char *)name.ptr, name.len};
  blocks_error *err = &list->task->err;
  int32_t status = blocks_unixfs_name_check(name, err);
  if (status != DEAI_OK) return status;
  if (!deai_utf8_check(text) || cid->len > DEAI_CID_MAX)
    return blocks_fail(
        err, DEAI_EINVAL,
        "entries: expected names in UTF-8 and CIDs of at most %d bytes, entry %" PRIu64
        " has others; read its block with get",
        DEAI_CID_MAX, list->seen);
  uint64_t bytes = name.len + cid->len + ENTRY_ROOM_BYTES;
  if (list->count == ENTRIES_MAX || list->bytes + bytes > BLOCKS_HEAD_ROOM) {
    list->cut = true;
    return 1;
  }
  status = blocks_buf_add(&list->names, name.ptr, (size_t)name.len);
  if (status != DEAI_OK) return status;
  list->bytes += bytes;
  list->cids[list->count] = *cid;
  list->name_ends[list->count++] = (uint32_t)list->names.len;
  return DEAI_OK;
}

static int32_t entry_each(void *user, deai_bytes name, const blocks_cid *cid, uint64_t tsize) {
  (void)tsize;
  listing *list = user;
  const read_state *state = list->task->state;
  uint64_t number = list->seen++;
  if (atomic_load(&list->task->cancelled)) return DEAI_ECANCELLED;
  if (number < state->off) return DEAI_OK;
  if (number - state->off >= state->left) return 1;
  return entry_put(list, name, cid);
}

static int32_t listing_reply(blocks_task *task, const listing *list) {
  deai_blocks_entry *rows = calloc((size_t)list->count + 1, sizeof *rows);
  uint32_t start = 0;
  if (rows == NULL) return DEAI_ENOMEM;
  for (uint32_t i = 0; i < list->count; i++) {
    rows[i].cid = blocks_cid_bytes(&list->cids[i]);
    rows[i].name = (deai_str){(const char *)list->names.ptr + start, list->name_ends[i] - start};
    start = list->name_ends[i];
  }
  deai_blocks_entries_end end = {.dir = {rows, list->count}};
  int32_t status = blocks_task_args(task, &deai_blocks_entries_end_table, &end);
  free(rows);
  return status == DEAI_OK ? BLOCKS_NEXT_END : status;
}

static int32_t listing_make(blocks_task *task, listing *list) {
  const read_state *state = task->state;
  blocks_caps caps = {.bytes_max = DIRECTORY_BYTES, .blocks_max = DIRECTORY_BLOCKS};
  bool paged = (state->ask.has & (DEAI_BLOCKS_READ_HAS_OFF | DEAI_BLOCKS_READ_HAS_LEN)) != 0;
  list->cids = calloc(ENTRIES_MAX, sizeof *list->cids);
  list->name_ends = calloc(ENTRIES_MAX, sizeof *list->name_ends);
  int32_t status = list->cids != NULL && list->name_ends != NULL ? DEAI_OK : DEAI_ENOMEM;
  if (status == DEAI_OK) status = resolve(task);
  if (status == DEAI_OK)
    status = blocks_directory_each(blocks_store_source(task->store), &state->cid, caps, &task->err,
                                   list, entry_each);
  if (status < 0) return status;
  if (list->cut && !paged)
    return blocks_fail(&task->err, DEAI_ETOOLARGE,
                       "entries: expected a directory that fits in one answer, found one of more "
                       "than %u entries; ask for it in pieces with off and len",
                       list->count);
  return listing_reply(task, list);
}

static int32_t step_entries(blocks_task *task) {
  listing list = {.task = task};
  int32_t status = listing_make(task, &list);
  free(list.cids);
  free(list.name_ends);
  blocks_buf_free(&list.names);
  return status;
}

const blocks_method blocks_method_entries = {.service = DEAI_BLOCKS_SERVICE,
                                             .name = "entries",
                                             .number = 10,
                                             .max = ENTRIES_CALLS_MAX,
                                             .state_bytes = sizeof(read_state),
                                             .begin = begin_read,
                                             .step = step_entries,
                                             .close = close_read};
