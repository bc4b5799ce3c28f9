#include "cli.h"

#include "deai/contracts/blocks.h"
#include "host/cli/tree.h"
#include "host/base/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define STORE_MS    86400000u
#define PROGRESS_NS UINT64_C(200000000)

static const char help[] =
    "deai store add FILE|FOLDER [--no-pin] | get CID[/PATH] [-o NEW] [--links] | list |\n"
    "           pin CID | unpin CID | stat CID | fetch CID | verify |\n"
    "           gc\n"
    "  add prints the CID on stdout and nothing else; get writes a file to stdout or to NEW, a\n"
    "  directory to the folder NEW, symbolic links only with --links; gc drops what no pin "
    "reaches.\n";

/* Shows bytes, rate and time left on stderr while something long runs. */
typedef struct progress {
  bool shown;
  const char *what;
  uint64_t begin_ns;
  uint64_t last_ns;
} progress;

typedef struct transfer {
  int fd;
  uint64_t done;
  uint64_t of;
  progress bar;
  uint8_t cid[DEAI_CID_MAX];
  uint64_t cid_len;
  uint64_t blocks;
  uint32_t bad;
  bool failed;
  bool listing;
  uint8_t next[DEAI_CID_MAX];
  uint64_t next_len;
  bool json;
} transfer;

static void progress_show(progress *bar, uint64_t done, uint64_t of, bool last) {
  uint64_t now_ns = deai_now_ns(deai_platform_system());
  if (!isatty(2) || (!last && now_ns - bar->last_ns < PROGRESS_NS)) return;
  bar->last_ns = now_ns;
  uint64_t spent_ms = (now_ns - bar->begin_ns) / 1000000 + 1;
  uint64_t rate = done * 1000 / spent_ms;
  uint64_t left_s = rate > 0 && of > done ? (of - done) / rate : 0;
  (void)fprintf(stderr,
                "\r%s %" PRIu64 " of %" PRIu64 " MiB  %" PRIu64 " MiB/s  %" PRIu64 " s left   %s",
                bar->what, done >> 20, of >> 20, rate >> 20, left_s, last ? "\n" : "");
}

static int64_t read_file(void *user, uint8_t *out, uint64_t cap) {
  transfer *job = user;
  ssize_t got = read(job->fd, out, (size_t)cap);
  if (got < 0) {
    job->failed = true;
    return DEAI_EIO;
  }
  job->done += (uint64_t)got;
  progress_show(&job->bar, job->done, job->of, got == 0);
  return got;
}

static bool added_part(void *user, const deai_part *part) {
  transfer *job = user;
  deai_blocks_added added;
  if ((part->flags & DEAI_PART_END) == 0 || part->args.len == 0) return true;
  if (deai_decode(&deai_blocks_added_table, part->args, &added, NULL, NULL, 0) != DEAI_OK)
    return false;
  memcpy(job->cid, added.cid.ptr, (size_t)added.cid.len);
  job->cid_len = added.cid.len;
  job->blocks = added.blocks;
  job->of = added.size;
  return true;
}

int cli_add(const cli *line, deai_client *client, const char *path, bool pin, uint8_t *cid,
            uint64_t *cid_len, uint64_t *size_out) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[512];
  struct stat info;
  transfer job = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
  if (job.fd < 0 || fstat(job.fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    if (job.fd >= 0) (void)close(job.fd);
    (void)fprintf(stderr, "deai: %s: expected a file that can be read: %s\n", path,
                  strerror(errno));
    return 5;
  }
  const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
  deai_blocks_add add = {.has = DEAI_BLOCKS_ADD_HAS_NAME | DEAI_BLOCKS_ADD_HAS_PIN,
                         .pin = pin,
                         .name = deai_str_of(name)};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (deai_encode(&deai_blocks_add_table, &add, &writer, why, sizeof why) != DEAI_OK) {
    (void)close(job.fd);
    return cli_fail(DEAI_EINVAL, why);
  }
  job.of = (uint64_t)info.st_size;
  job.bar = (progress){.what = "adding", .begin_ns = deai_now_ns(deai_platform_system())};
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = "add",
                           .args = deai_bytes_of(room, writer.len),
                           .next = read_file,
                           .part = added_part,
                           .user = &job,
                           .time_ms = line->time_ms > 0 ? line->time_ms : STORE_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  (void)close(job.fd);
  if (job.failed) return cli_fail(DEAI_EIO, "the file could not be read to its end");
  if (status != DEAI_OK) return cli_fail(status, why);
  memcpy(cid, job.cid, (size_t)job.cid_len);
  *cid_len = job.cid_len;
  *size_out = job.of;
  return 0;
}

static int do_add(cli *line) {
  char text[256];
  uint8_t cid[DEAI_CID_MAX];
  uint64_t len = 0;
  uint64_t size = 0;
  bool pin = !cli_flag(line, "--no-pin");
  if (line->count != 2) return cli_usage(help);
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  struct stat info;
  bool folder = stat(line->words[1], &info) == 0 && S_ISDIR(info.st_mode);
  int code = folder ? cli_tree_add(line, client, line->words[1], pin, cid, &len, &size)
                    : cli_add(line, client, line->words[1], pin, cid, &len, &size);
  deai_client_free(client);
  if (code != 0) return code;
  cli_cid_text(deai_bytes_of(cid, len), text, sizeof text);
  if (line->json)
    (void)printf("{\"cid\":\"%s\",\"size\":%" PRIu64 "}\n", text, size);
  else
    (void)printf("%s\n", text);
  return 0;
}

static bool body_part(void *user, const deai_part *part) {
  transfer *job = user;
  uint64_t at = 0;
  while (at < part->body.len) {
    ssize_t put = write(job->fd, part->body.ptr + at, (size_t)(part->body.len - at));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      job->failed = true;
      return false;
    }
    at += (uint64_t)put;
  }
  return true;
}

/* get_file writes one file to stdout or to the new file `to`. */
static int get_file(const cli *line, deai_client *client, deai_bytes cid, const char *to) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t room[512];
  deai_blocks_read ask = {.cid = cid};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (deai_encode(&deai_blocks_read_table, &ask, &writer, why, sizeof why) != DEAI_OK)
    return cli_fail(DEAI_EINVAL, why);
  transfer job = {.fd = to == NULL ? 1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
  if (job.fd < 0) return cli_fail(DEAI_EIO, strerror(errno));
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = "read",
                           .args = deai_bytes_of(room, writer.len),
                           .part = body_part,
                           .user = &job,
                           .time_ms = line->time_ms > 0 ? line->time_ms : STORE_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  int code = job.failed          ? cli_fail(DEAI_EIO, "the output could not be written")
             : status == DEAI_OK ? 0
                                 : cli_fail(status, why);
  if (to != NULL && close(job.fd) != 0 && code == 0) code = cli_fail(DEAI_EIO, strerror(errno));
  if (to != NULL && code != 0) (void)unlink(to);
  return code;
}

static int get_folder(const cli *line, deai_client *client, deai_bytes cid, const char *to,
                      bool links) {
  char why[DEAI_ERR_CAP] = "";
  cli_tree_done done;
  if (to == NULL)
    return cli_fail(DEAI_EINVAL, "that is a directory; expected -o NEW-FOLDER to write it to");
  int32_t status = cli_tree_get(client, cid, to, links, &done, why, sizeof why);
  if (!line->quiet)
    (void)fprintf(stderr,
                  "%" PRIu64 " files, %" PRIu64 " folders, %" PRIu64 " links, %" PRIu64 " bytes\n",
                  done.files, done.folders, done.links, done.bytes);
  return status == DEAI_OK ? 0 : cli_fail(status, why);
}

static int do_get(cli *line) {
  char why[DEAI_ERR_CAP] = "";
  char text[256];
  uint8_t cid[DEAI_CID_MAX];
  uint8_t own[DEAI_CID_MAX];
  uint64_t own_len = 0;
  uint64_t size = 0;
  const char *to = cli_option(line, "-o");
  bool links = cli_flag(line, "--links");
  if (line->count != 2) return cli_usage(help);
  const char *slash = strchr(line->words[1], '/');
  size_t len = slash != NULL ? (size_t)(slash - line->words[1]) : strlen(line->words[1]);
  (void)snprintf(text, sizeof text, "%.*s", (int)len, line->words[1]);
  uint64_t cid_len = cli_cid_read(text, cid, sizeof cid);
  if (cid_len == 0)
    return cli_fail(DEAI_EINVAL, "expected a CID like bafy..., found something else");
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  int32_t kind =
      cli_tree_kind(client, deai_bytes_of(cid, cid_len), slash != NULL ? slash + 1 : NULL, own,
                    &own_len, &size, why, sizeof why);
  deai_bytes what = deai_bytes_of(own, own_len);
  int code = kind < 0                  ? cli_fail(kind, why)
             : kind == DEAI_BLOCKS_DIR ? get_folder(line, client, what, to, links)
                                       : get_file(line, client, what, to);
  deai_client_free(client);
  return code;
}

static bool report_part(void *user, const deai_part *part) {
  _Alignas(16) static uint8_t room[1024 * sizeof(deai_bytes) + 64];
  deai_arena arena = {room, sizeof room, 0};
  transfer *job = user;
  deai_blocks_progress seen;
  deai_blocks_stat stat;
  deai_blocks_verify_end end;
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  if (!is_end &&
      deai_decode(&deai_blocks_progress_table, part->args, &seen, NULL, NULL, 0) == DEAI_OK)
    progress_show(&job->bar, seen.done, seen.of, seen.done == seen.of);
  if (!is_end || part->args.len == 0) return true;
  if (deai_decode(&deai_blocks_stat_table, part->args, &stat, NULL, NULL, 0) == DEAI_OK) {
    (void)printf("size %" PRIu64 "  blocks %" PRIu64 "  here %" PRIu64 "  pins %" PRIu64 "\n",
                 stat.size, stat.blocks, stat.have, stat.pins);
  } else if (deai_decode(&deai_blocks_verify_end_table, part->args, &end, &arena, NULL, 0) ==
             DEAI_OK) {
    const deai_bytes *bad = end.bad.items;
    for (uint64_t i = 0; i < end.bad.count; i++) {
      char text[256];
      cli_cid_text(bad[i], text, sizeof text);
      (void)printf("bad %s\n", text);
    }
    job->bad = (uint32_t)end.bad.count;
    if (end.bad.count == 0) (void)printf("ok\n");
  }
  return true;
}

static int do_cid_method(cli *line, const char *method) {
  char why[DEAI_ERR_CAP] = "";
  uint8_t cid[DEAI_CID_MAX];
  uint8_t room[256];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  transfer job = {.bar = {.what = method, .begin_ns = deai_now_ns(deai_platform_system())}};
  bool needs_cid = strcmp(method, "verify") != 0;
  if (line->count != (needs_cid ? 2 : 1)) return cli_usage(help);
  deai_cbor_put_map(&writer, needs_cid ? 1 : 0);
  if (needs_cid) {
    uint64_t len = cli_cid_read(line->words[1], cid, sizeof cid);
    if (len == 0) return cli_fail(DEAI_EINVAL, "expected a CID like bafy..., found something else");
    deai_cbor_put_text(&writer, deai_str_of("cid"));
    deai_cbor_put_cid(&writer, deai_bytes_of(cid, len));
  }
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = method,
                           .args = deai_bytes_of(room, writer.len),
                           .part = report_part,
                           .user = &job,
                           .time_ms = line->time_ms > 0 ? line->time_ms : STORE_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  if (status != DEAI_OK) return cli_fail(status, why);
  return job.bad > 0 ? deai_status_exit(DEAI_EVERIFY) : 0;
}

static bool list_part(void *user, const deai_part *part) {
  _Alignas(16) static uint8_t room[1024 * sizeof(deai_bytes) + 64];
  deai_arena arena = {room, sizeof room, 0};
  transfer *job = user;
  deai_blocks_list_end end;
  if ((part->flags & DEAI_PART_END) == 0 || part->args.len == 0) return true;
  if (deai_decode(&deai_blocks_list_end_table, part->args, &end, &arena, NULL, 0) != DEAI_OK)
    return false;
  const deai_bytes *cids = end.cids.items;
  for (uint64_t i = 0; i < end.cids.count; i++) {
    char text[256];
    cli_cid_text(cids[i], text, sizeof text);
    (void)printf("%s\n", text);
  }
  job->next_len = 0;
  if ((end.has & DEAI_BLOCKS_LIST_END_HAS_NEXT) == 0) return true;
  memcpy(job->next, end.next.ptr, (size_t)end.next.len);
  job->next_len = end.next.len;
  return true;
}

static int do_list(cli *line) {
  char why[DEAI_ERR_CAP] = "";
  transfer job = {0};
  int32_t status = DEAI_OK;
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  do {
    uint8_t room[256];
    deai_blocks_list ask = {.after = deai_bytes_of(job.next, job.next_len)};
    if (job.next_len > 0) ask.has = DEAI_BLOCKS_LIST_HAS_AFTER;
    deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
    status = deai_encode(&deai_blocks_list_table, &ask, &writer, why, sizeof why);
    deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                             .method = "list",
                             .args = deai_bytes_of(room, writer.len),
                             .part = list_part,
                             .user = &job,
                             .time_ms = line->time_ms > 0 ? line->time_ms : 60000};
    if (status == DEAI_OK) status = deai_client_run(client, &call, why, sizeof why);
  } while (status == DEAI_OK && job.next_len > 0);
  deai_client_free(client);
  return status == DEAI_OK ? 0 : cli_fail(status, why);
}

static bool collected_part(void *user, const deai_part *part) {
  deai_blocks_collect_end *end = user;
  if ((part->flags & DEAI_PART_END) == 0 || part->status != DEAI_OK) return true;
  return deai_decode(&deai_blocks_collect_end_table, part->args, end, NULL, NULL, 0) == DEAI_OK;
}

static int do_gc(cli *line) {
  static const uint8_t empty_map = 0xa0;
  char why[DEAI_ERR_CAP] = "";
  deai_blocks_collect_end end = {0};
  if (line->count != 1) return cli_usage(help);
  deai_client *client = cli_connect(line);
  if (client == NULL) return CLI_EXIT_NO_NODE;
  deai_client_call call = {.service = DEAI_BLOCKS_SERVICE,
                           .method = "collect",
                           .flags = DEAI_CALL_HERE,
                           .args = deai_bytes_of(&empty_map, 1),
                           .part = collected_part,
                           .user = &end,
                           .time_ms = line->time_ms > 0 ? line->time_ms : STORE_MS};
  int32_t status = deai_client_run(client, &call, why, sizeof why);
  deai_client_free(client);
  if (status != DEAI_OK) return cli_fail(status, why);
  (void)printf(line->json ? "{\"freed\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"kept\":%" PRIu64 "}\n"
                          : "freed %" PRIu64 " blocks, %" PRIu64 " bytes; kept %" PRIu64
                            " blocks\n",
               end.freed, end.bytes, end.kept);
  return 0;
}

int cli_store(cli *line) {
  static const char *const methods[] = {"pin", "unpin", "stat", "fetch", "verify"};
  const char *verb = line->count > 0 ? line->words[0] : "";
  if (strcmp(verb, "add") == 0) return do_add(line);
  if (strcmp(verb, "get") == 0) return do_get(line);
  if (strcmp(verb, "list") == 0) return do_list(line);
  if (strcmp(verb, "gc") == 0) return do_gc(line);
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (strcmp(verb, methods[i]) == 0) return do_cid_method(line, methods[i]);
  }
  return cli_usage(help);
}
