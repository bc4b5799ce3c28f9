/* request: the HTTP gateway for /ipfs/{cid}[/path]. It serves what is here and fetches nothing. */
#include "gateway.h"
#include "task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define REQUESTS_MAX     64u
#define ARENA_BYTES      (DEAI_HTTP_HEADERS_MAX * sizeof(deai_text_pair) + 64u)
#define PAGE_ENTRIES_MAX 10000u
#define PAGE_BYTES_MAX   (4u << 20)
#define DIRECTORY_BYTES  (256u << 20)
#define DIRECTORY_BLOCKS 65536u
#define HTTP_NOT_FOUND   404
#define ETAG_BYTES       (BLOCKS_CID_TEXT_MAX + 16)

typedef struct http_state {
  deai_http_request head;
  blocks_request ask;
  int32_t refusal; /* HTTP status of a request that cannot be served, or 0 */
  blocks_error refusal_text;
  bool answered;
  blocks_reader *reader; /* the body is a file, or: */
  blocks_buf text;       /* the body is this */
  uint64_t off;
  uint64_t left;
} http_state;

/* What the answer is about, while its head is made. */
typedef struct target {
  blocks_cid cid; /* what the path leads to */
  blocks_info info;
  const char *type;
  const char *cache;
  char etag[ETAG_BYTES];
  uint64_t size;
  blocks_answer answer;
  blocks_buf roots; /* X-Ipfs-Roots */
  blocks_buf path;  /* X-Ipfs-Path */
} target;

static int32_t begin_request(blocks_task *task, const deai_part *first, char *err,
                             uint32_t err_cap) {
  (void)first;
  http_state *state = task->state;
  int32_t status =
      deai_decode(&deai_http_request_table, task->given, &state->head, &task->arena, err, err_cap);
  if (status == DEAI_OK)
    state->refusal = blocks_request_read(&state->head, &state->ask, &state->refusal_text);
  return status;
}

/* ---- answers ---- */

static int32_t answer_put(blocks_task *task, blocks_answer *answer) {
  deai_http_answer head = {.h = {answer->pairs, answer->count}, .status = answer->status};
  return blocks_task_args(task, &deai_http_answer_table, &head);
}

/* answer_text ends the request with status and one line of text. */
static int32_t answer_text(blocks_task *task, int32_t http_status, const char *text) {
  const http_state *state = task->state;
  uint8_t *room = NULL;
  uint64_t len = strlen(text);
  blocks_answer *answer = calloc(1, sizeof *answer);
  if (answer == NULL) return DEAI_ENOMEM;
  answer->status = (uint64_t)http_status;
  int32_t status = blocks_answer_add(answer, "Content-Type", "text/plain; charset=utf-8");
  if (status == DEAI_OK) status = blocks_answer_add(answer, "Content-Length", "%" PRIu64, len + 1);
  if (status == DEAI_OK) status = blocks_answer_add(answer, "X-Content-Type-Options", "nosniff");
  if (status == DEAI_OK) status = blocks_answer_add(answer, "Content-Security-Policy", "sandbox");
  if (status == DEAI_OK) status = blocks_answer_add(answer, "Cache-Control", "no-store");
  if (status == DEAI_OK && http_status == 405)
    status = blocks_answer_add(answer, "Allow", "GET, HEAD");
  if (status == DEAI_OK) status = answer_put(task, answer);
  free(answer);
  if (status == DEAI_OK && !state->ask.head) status = blocks_task_body(task, len + 1, &room);
  if (status != DEAI_OK) return status;
  if (room != NULL) {
    memcpy(room, text, (size_t)len);
    room[len] = '\n';
  }
  return BLOCKS_NEXT_END;
}

/* answer_status turns a refusal of the store into an answer. */
static int32_t answer_status(blocks_task *task, int32_t status) {
  const http_state *state = task->state;
  int32_t http_status = deai_status_http(status);
  if (status == DEAI_EUNSUPPORTED) http_status = 406; /* not UnixFS; the block can be had raw */
  if (http_status == HTTP_NOT_FOUND && state->ask.only_if_cached) http_status = 412;
  task->out.args.len = 0;
  task->out.used = false;
  return answer_text(task, http_status,
                     task->err.text[0] != 0 ? task->err.text : deai_status_text(status));
}

static int32_t add(blocks_answer *answer, const char *name, const blocks_buf *value) {
  return blocks_answer_add(answer, name, "%.*s", (int)value->len, (const char *)value->ptr);
}

/* head_common adds what 200, 206, 304 and 416 share. */
static int32_t head_common(blocks_task *task, target *what) {
  http_state *state = task->state;
  blocks_answer *answer = &what->answer;
  int32_t status = blocks_escape_url(
      &what->path, deai_bytes_of(state->ask.whole.ptr, state->ask.whole.len), true);
  if (status == DEAI_OK) status = blocks_answer_add(answer, "Etag", "%s", what->etag);
  if (status == DEAI_OK) status = blocks_answer_add(answer, "Cache-Control", "%s", what->cache);
  if (status == DEAI_OK) status = add(answer, "X-Ipfs-Path", &what->path);
  if (status == DEAI_OK) status = add(answer, "X-Ipfs-Roots", &what->roots);
  if (status == DEAI_OK) status = blocks_answer_add(answer, "X-Content-Type-Options", "nosniff");
  if (status == DEAI_OK) status = blocks_answer_add(answer, "Content-Security-Policy", "sandbox");
  if (status == DEAI_OK) status = blocks_answer_add(answer, "Accept-Ranges", "bytes");
  if (status == DEAI_ETOOLARGE)
    return blocks_fail(&task->err, DEAI_EINVAL,
                       "expected a path and CIDs that fit into a header of %u bytes, found longer "
                       "ones; ask for the CID at the end of the path",
                       DEAI_HTTP_VALUE_MAX);
  return status;
}

static int32_t head_type(blocks_task *task, target *what) {
  const http_state *state = task->state;
  blocks_cid_string text;
  blocks_answer *answer = &what->answer;
  int32_t status = blocks_answer_add(answer, "Content-Type", "%s", what->type);
  if (status == DEAI_OK && state->ask.form != BLOCKS_FORM_ANY)
    status = blocks_answer_add(answer, "Content-Disposition", "attachment; filename=\"%s.bin\"",
                               blocks_cid_print(&what->cid, &text));
  return status;
}

/* head_range decides between the whole body and a piece of it. */
static int32_t head_range(blocks_task *task, target *what) {
  http_state *state = task->state;
  deai_str range = state->ask.range;
  uint64_t first = 0;
  uint64_t len = what->size;
  if (state->ask.if_range.len > 0 && !blocks_etag_match(state->ask.if_range, what->etag, false))
    range.len = 0;
  what->answer.status = (uint64_t)blocks_range_read(range, what->size, &first, &len);
  int32_t status = DEAI_OK;
  if (what->answer.status == 416) {
    len = 0;
    status = blocks_answer_add(&what->answer, "Content-Range", "bytes */%" PRIu64, what->size);
  } else {
    status = head_type(task, what);
  }
  if (status == DEAI_OK && what->answer.status == 206)
    status =
        blocks_answer_add(&what->answer, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                          first, first + len - 1, what->size);
  if (status == DEAI_OK)
    status = blocks_answer_add(&what->answer, "Content-Length", "%" PRIu64, len);
  state->off = first;
  state->left = state->ask.head ? 0 : len;
  return status;
}

static int32_t head_make(blocks_task *task, target *what) {
  http_state *state = task->state;
  int32_t status = head_common(task, what);
  if (status != DEAI_OK) return status;
  if (blocks_etag_match(state->ask.none_match, what->etag, true)) {
    what->answer.status = 304;
    state->left = 0;
  } else {
    status = head_range(task, what);
  }
  if (status == DEAI_OK) status = answer_put(task, &what->answer);
  if (status != DEAI_OK) return status;
  return state->left > 0 ? BLOCKS_NEXT_AGAIN : BLOCKS_NEXT_END;
}

/* ---- a directory as a page ---- */

typedef struct page {
  blocks_task *task;
  uint32_t count;
} page;

static int32_t put(blocks_buf *out, const char *text) {
  return blocks_buf_add(out, text, strlen(text));
}

static int32_t page_entry(void *user, deai_bytes name, const blocks_cid *cid, uint64_t tsize) {
  (void)cid, (void)tsize;
  page *listing = user;
  http_state *state = listing->task->state;
  blocks_buf *out = &state->text;
  deai_bytes whole = deai_bytes_of(state->ask.whole.ptr, state->ask.whole.len);
  if (atomic_load(&listing->task->cancelled)) return DEAI_ECANCELLED;
  while (whole.len > 0 && whole.ptr[whole.len - 1] == '/')
    whole.len--;
  if (listing->count++ == PAGE_ENTRIES_MAX || out->len > PAGE_BYTES_MAX) return 1;
  int32_t status = put(out, "<li><a href=\"");
  if (status == DEAI_OK) status = blocks_escape_url(out, whole, true);
  if (status == DEAI_OK) status = put(out, "/");
  if (status == DEAI_OK) status = blocks_escape_url(out, name, false);
  if (status == DEAI_OK) status = put(out, "\">");
  if (status == DEAI_OK) status = blocks_escape_html(out, name);
  return status == DEAI_OK ? put(out, "</a></li>\n") : status;
}

static int32_t page_make(blocks_task *task, const target *what) {
  http_state *state = task->state;
  page listing = {.task = task};
  blocks_caps caps = {.bytes_max = DIRECTORY_BYTES, .blocks_max = DIRECTORY_BLOCKS};
  blocks_buf *out = &state->text;
  deai_bytes whole = deai_bytes_of(state->ask.whole.ptr, state->ask.whole.len);
  int32_t status = put(out, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>");
  if (status == DEAI_OK) status = blocks_escape_html(out, whole);
  if (status == DEAI_OK) status = put(out, "</title></head>\n<body><ul>\n");
  if (status == DEAI_OK)
    status = blocks_directory_each(blocks_store_source(task->store), &what->cid, caps, &task->err,
                                   &listing, page_entry);
  if (status < 0) return status;
  if (status == 1) status = put(out, "<li>and more; the list is cut here</li>\n");
  return status == DEAI_OK ? put(out, "</ul></body></html>\n") : status;
}

/* ---- what is asked for ---- */

static void etag_of(target *what, const char *ending) {
  blocks_cid_string text;
  (void)snprintf(what->etag, sizeof what->etag, "\"%s%s\"", blocks_cid_print(&what->cid, &text),
                 ending);
}

static int32_t roots_add(target *what) {
  blocks_cid_string text;
  int32_t status = what->roots.len > 0 ? put(&what->roots, ",") : DEAI_OK;
  return status == DEAI_OK ? put(&what->roots, blocks_cid_print(&what->cid, &text)) : status;
}

/* path_follow walks the path segment by segment, because X-Ipfs-Roots names each one's CID. */
static int32_t path_follow(blocks_task *task, target *what) {
  const http_state *state = task->state;
  deai_str path = state->ask.path;
  uint32_t segments = 0;
  int32_t status = roots_add(what);
  while (path.len > 0 && status == DEAI_OK) {
    blocks_cid from = what->cid;
    const char *slash = memchr(path.ptr, '/', (size_t)path.len);
    deai_str segment = {path.ptr, slash != NULL ? (uint64_t)(slash - path.ptr) : path.len};
    uint64_t used = segment.len + (slash != NULL ? 1 : 0);
    path = (deai_str){path.ptr + used, path.len - used};
    if (segment.len == 0) continue;
    if (++segments > BLOCKS_GATEWAY_SEGMENTS)
      return blocks_fail(&task->err, DEAI_EINVAL, "expected a path of at most %u names, found more",
                         BLOCKS_GATEWAY_SEGMENTS);
    status = blocks_resolve(blocks_store_source(task->store), &from, segment, &what->cid,
                            &task->err, NULL, NULL);
    if (status == DEAI_OK) status = roots_add(what);
  }
  return status;
}

static int32_t block_open(blocks_task *task, target *what) {
  http_state *state = task->state;
  if (state->ask.form == BLOCKS_FORM_CODEC && what->cid.codec != state->ask.codec)
    return blocks_fail(&task->err, DEAI_EUNSUPPORTED,
                       "expected a block of that codec, found codec 0x%" PRIx64
                       ": nothing is converted here; ask for format=raw",
                       what->cid.codec);
  int32_t status = blocks_store_get(task->store, &what->cid, &state->text, &task->err);
  what->size = state->text.len;
  what->type = state->ask.type;
  etag_of(what, state->ask.form == BLOCKS_FORM_RAW ? ".raw" : ".codec");
  return status;
}

static int32_t page_open(blocks_task *task, target *what) {
  http_state *state = task->state;
  int32_t status = page_make(task, what);
  what->size = state->text.len;
  what->type = "text/html; charset=utf-8";
  what->cache = BLOCKS_CACHE_A_WEEK; /* how the page looks may change */
  etag_of(what, ".html");
  return status;
}

static int32_t target_open(blocks_task *task, target *what) {
  http_state *state = task->state;
  blocks_source source = blocks_store_source(task->store);
  what->cache = BLOCKS_CACHE_FOR_EVER;
  int32_t status = path_follow(task, what);
  if (status != DEAI_OK) return status;
  if (state->ask.form != BLOCKS_FORM_ANY) return block_open(task, what);
  status = blocks_info_read(source, &what->cid, &what->info, &task->err);
  if (status != DEAI_OK) return status;
  if (what->info.type == BLOCKS_UNIXFS_DIRECTORY || what->info.type == BLOCKS_UNIXFS_HAMT)
    return page_open(task, what);
  etag_of(what, "");
  what->size = what->info.size;
  if (what->info.type == BLOCKS_UNIXFS_SYMLINK) {
    what->type = "text/plain; charset=utf-8";
    status = blocks_symlink_read(source, &what->cid, &state->text, &task->err);
    what->size = state->text.len;
    return status;
  }
  what->type = blocks_content_type(state->ask.path);
  return blocks_reader_open(source, &what->cid, (blocks_caps){0}, &state->reader, &task->err);
}

static int32_t answer_begin(blocks_task *task) {
  http_state *state = task->state;
  if (state->refusal != 0) return answer_text(task, state->refusal, state->refusal_text.text);
  target *what = calloc(1, sizeof *what);
  if (what == NULL) return DEAI_ENOMEM;
  int32_t status = blocks_cid_of_text(state->ask.cid, &what->cid, &task->err);
  if (status != DEAI_OK) status = DEAI_EINVAL; /* an unknown base, too, is a bad address */
  if (status == DEAI_OK) status = target_open(task, what);
  if (status == DEAI_OK) status = head_make(task, what);
  blocks_buf_free(&what->roots);
  blocks_buf_free(&what->path);
  free(what);
  return status < 0 && status != DEAI_ECANCELLED ? answer_status(task, status) : status;
}

static int32_t step_request(blocks_task *task) {
  http_state *state = task->state;
  uint8_t *room = NULL;
  if (!state->answered) {
    state->answered = true;
    return answer_begin(task);
  }
  uint64_t len = state->left < BLOCKS_PART_BYTES ? state->left : BLOCKS_PART_BYTES;
  int32_t status = blocks_task_body(task, len, &room);
  if (status == DEAI_OK && state->reader != NULL)
    status = blocks_task_read(task, state->reader, state->off, (deai_buf){room, len});
  else if (status == DEAI_OK)
    memcpy(room, state->text.ptr + state->off, (size_t)len);
  if (status != DEAI_OK) return status;
  state->off += len;
  state->left -= len;
  return state->left > 0 ? BLOCKS_NEXT_AGAIN : BLOCKS_NEXT_END;
}

static void close_request(blocks_task *task) {
  http_state *state = task->state;
  if (state == NULL) return;
  blocks_reader_close(state->reader);
  state->reader = NULL;
  blocks_buf_free(&state->text);
}

const blocks_method blocks_method_request = {.service = DEAI_HTTP_SERVICE,
                                             .name = "request",
                                             .number = 12,
                                             .max = REQUESTS_MAX,
                                             .arena_bytes = ARENA_BYTES,
                                             .state_bytes = sizeof(http_state),
                                             .begin = begin_request,
                                             .step = step_request,
                                             .close = close_request};
