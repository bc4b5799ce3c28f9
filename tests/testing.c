#include "testing.h"

#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LINE_BYTES_MAX (16u << 20)

static char folder_path[4096];
static pid_t folder_owner;

int testing_run(Suite *suite) {
  (void)signal(SIGPIPE, SIG_IGN); /* as in deaid, deai-plughost and deai */
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
  (void)info, (void)kind, (void)place;
  return remove(path);
}

static void folder_remove(void) {
  if (folder_path[0] != 0 && getpid() == folder_owner)
    (void)nftw(folder_path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *testing_folder(void) {
  const char *parent = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  if (folder_path[0] != 0 && getpid() == folder_owner) return folder_path;
  (void)snprintf(folder_path, sizeof folder_path, "%s/deai-test-XXXXXX", parent);
  if (mkdtemp(folder_path) == NULL) {
    perror("mkdtemp");
    exit(2);
  }
  folder_owner = getpid();
  (void)atexit(folder_remove);
  return folder_path;
}

static const char *vectors_list(char *room, size_t room_bytes) {
  const char *list = getenv("DEAI_VECTORS");
  if (list != NULL && list[0] != 0) return list;
  const char *root = getenv("DEAI_TEST_ROOT");
  (void)snprintf(room, room_bytes, "%s/tests/vectors", root ? root : ".");
  return room;
}

size_t testing_vectors_each(const char *area, testing_area *each, void *user) {
  char room[4096];
  char path[8192];
  size_t found = 0;
  const char *list = vectors_list(room, sizeof room);
  while (*list != 0) {
    size_t len = strcspn(list, ":");
    (void)snprintf(path, sizeof path, "%.*s/%s", (int)len, list, area);
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
      each(path, user);
      found++;
    }
    list += len;
    if (*list == ':') list++;
  }
  return found;
}

typedef struct rows_job {
  const char *name;
  testing_row *row;
  void *user;
  size_t count;
} rows_job;

static void rows_of_folder(const char *folder, void *user) {
  rows_job *job = user;
  char path[8448];
  (void)snprintf(path, sizeof path, "%s/%s", folder, job->name);
  FILE *file = fopen(path, "r");
  if (file == NULL) return;
  char *line = malloc(LINE_BYTES_MAX);
  ck_assert_ptr_nonnull(line);
  while (fgets(line, LINE_BYTES_MAX, file) != NULL) {
    if (line[strspn(line, " \r\n\t")] == 0) continue;
    json_error_t error;
    json_t *object = json_loads(line, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (object == NULL) ck_abort_msg("%s: %s", path, error.text);
    job->row(object, job->user);
    json_decref(object);
    job->count++;
  }
  free(line);
  (void)fclose(file);
}

size_t testing_vector_rows(const char *area, const char *name, testing_row *row, void *user) {
  rows_job job = {.name = name, .row = row, .user = user};
  (void)testing_vectors_each(area, rows_of_folder, &job);
  return job.count;
}

void testing_tally(const char *area, size_t passed, size_t failed, size_t not_in_build) {
  printf("vectors %s: %zu passed, %zu failed, not in this build: %zu\n", area, passed, failed,
         not_in_build);
  (void)fflush(stdout);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint8_t *testing_hex(const char *hex, size_t *len_out) {
  size_t len = strlen(hex) / 2;
  ck_assert_uint_eq(strlen(hex) % 2, 0);
  uint8_t *out = malloc(len + 1);
  ck_assert_ptr_nonnull(out);
  for (size_t i = 0; i < len; i++) {
    int high = hex_digit(hex[2 * i]);
    int low = hex_digit(hex[2 * i + 1]);
    ck_assert_msg(high >= 0 && low >= 0, "bad hex in a vector");
    out[i] = (uint8_t)(high * 16 + low);
  }
  *len_out = len;
  return out;
}

const char *testing_model(void) {
  static char path[4096];
  const char *given = getenv("DEAI_MODEL");
  const char *cache = getenv("DEAI_CACHE");
  const char *root = getenv("DEAI_TEST_ROOT");
  if (given != NULL && given[0] != 0) {
    (void)snprintf(path, sizeof path, "%s", given);
  } else if (cache != NULL && cache[0] != 0) {
    (void)snprintf(path, sizeof path, "%s/SmolLM2-135M-Instruct.Q4_1.gguf", cache);
  } else {
    (void)snprintf(path, sizeof path, "%s/.cache/SmolLM2-135M-Instruct.Q4_1.gguf",
                   root ? root : ".");
  }
  if (access(path, R_OK) == 0) return path;
  printf("skipped: no model at %s (./check fetches it; or set DEAI_MODEL)\n", path);
  return NULL;
}
