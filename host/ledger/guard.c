#include "guard.h"

#include "host/base/file.h"
#include "host/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/banned.h"

#define PATH_BYTES_MAX  4096
#define READ_BYTES      (1u << 20)
#define CPU_SECONDS_MIN 60u
#define BYTES_PER_CPU_S (4u << 20) /* a slow machine reads and hashes more than that */

static int32_t read_hash(int fd, uint8_t hash[DEAI_HASH_BYTES]) {
  int32_t status = DEAI_OK;
  deai_hasher *hasher = deai_hasher_new();
  uint8_t *room = malloc(READ_BYTES);
  if (hasher == NULL || room == NULL) status = DEAI_ENOMEM;
  while (status == DEAI_OK) {
    ssize_t got = read(fd, room, READ_BYTES);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = DEAI_EIO;
    if (got <= 0) break;
    deai_hasher_add(hasher, deai_bytes_of(room, (uint64_t)got));
  }
  if (status == DEAI_OK) deai_hasher_end(hasher, hash);
  deai_hasher_free(hasher);
  free(room);
  return status;
}

static int32_t state_hash(const char *folder, uint8_t hash[DEAI_HASH_BYTES]) {
  char path[PATH_BYTES_MAX];
  int32_t status = deai_path_join(path, sizeof path, folder, "state/data.mdb");
  if (status != DEAI_OK) return status;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? DEAI_ENOTFOUND : DEAI_EIO;
  status = read_hash(fd, hash);
  (void)close(fd);
  return status;
}

int32_t deai_guard_seal(const char *folder, char *err, uint32_t err_cap) {
  char path[PATH_BYTES_MAX];
  uint8_t hash[DEAI_HASH_BYTES];
  int32_t status = state_hash(folder, hash);
  if (status == DEAI_OK) status = deai_path_join(path, sizeof path, folder, "state.seal");
  if (status != DEAI_OK) return status;
  return deai_file_replace(path, deai_bytes_of(hash, sizeof hash), 0600, err, err_cap);
}

int32_t deai_guard_unseal(const char *folder, char *err, uint32_t err_cap) {
  char path[PATH_BYTES_MAX];
  int32_t status = deai_path_join(path, sizeof path, folder, "state.seal");
  if (status != DEAI_OK) return status;
  if (unlink(path) == 0) return deai_folder_sync(folder, err, err_cap);
  if (errno == ENOENT) return DEAI_OK;
  (void)snprintf(err, err_cap, "expected to remove %s, found: %s", path, strerror(errno));
  return DEAI_EIO;
}

int32_t deai_guard_sealed(const char *folder, char *err, uint32_t err_cap) {
  char path[PATH_BYTES_MAX];
  uint8_t hash[DEAI_HASH_BYTES];
  uint8_t *seal = NULL;
  uint64_t len = 0;
  int32_t status = deai_path_join(path, sizeof path, folder, "state.seal");
  if (status == DEAI_OK) status = deai_file_read(path, 4096, &seal, &len, err, err_cap);
  if (status == DEAI_ETOOLARGE) status = DEAI_EVERIFY;
  if (status != DEAI_OK) return status;
  status = state_hash(folder, hash);
  if (status == DEAI_ENOTFOUND || status == DEAI_OK) {
    int32_t same = status == DEAI_OK && len == sizeof hash && memcmp(seal, hash, len) == 0;
    status = same ? DEAI_OK : DEAI_EVERIFY;
  }
  if (status == DEAI_EVERIFY)
    (void)snprintf(err, err_cap, "expected the state as it was closed, found changed bytes");
  free(seal);
  return status;
}

/* ---- the child ---- */

static void child_limits(uint64_t file_bytes) {
  struct rlimit cpu, core = {0, 0};
  cpu.rlim_cur = cpu.rlim_max = (rlim_t)(CPU_SECONDS_MIN + file_bytes / BYTES_PER_CPU_S);
  (void)setrlimit(RLIMIT_CPU, &cpu);
  (void)setrlimit(RLIMIT_CORE, &core);
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (null >= 0) (void)dup2(null, STDERR_FILENO);
}

static void child_judge(const char *path, const deai_genesis *genesis, uint64_t map_bytes,
                        deai_guard_verdict *verdict) {
  deai_state *state = NULL;
  verdict->status = deai_state_open(path, genesis, map_bytes, DEAI_STATE_READ, &state, verdict->why,
                                    sizeof verdict->why);
  /* LMDB names a file that is half made in several ways */
  if (verdict->status != DEAI_OK && verdict->status != DEAI_ENOMEM) verdict->status = DEAI_EVERIFY;
  if (verdict->status != DEAI_OK) return;
  verdict->head = deai_state_head_get(state);
  verdict->status = deai_state_is_new(state)
                        ? DEAI_EVERIFY
                        : deai_state_check(state, verdict->why, sizeof verdict->why);
}

static void child_run(int pipe_end, const char *path, uint64_t file_bytes,
                      const deai_genesis *genesis, uint64_t map_bytes) {
  deai_guard_verdict verdict;
  memset(&verdict, 0, sizeof verdict);
  child_limits(file_bytes);
  child_judge(path, genesis, map_bytes, &verdict);
  ssize_t put = write(pipe_end, &verdict, sizeof verdict);
  _exit(put == (ssize_t)sizeof verdict ? 0 : 1);
}

static void verdict_set(deai_guard_verdict *verdict, int32_t status, const char *why) {
  verdict->status = status;
  (void)snprintf(verdict->why, sizeof verdict->why, "%s", why);
}

static void parent_wait(int pipe_end, pid_t child, deai_guard_verdict *verdict) {
  deai_guard_verdict answer;
  uint64_t got = 0;
  int how = 0;
  while (got < sizeof answer) {
    ssize_t part = read(pipe_end, (uint8_t *)&answer + got, sizeof answer - (size_t)got);
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) break;
    got += (uint64_t)part;
  }
  while (waitpid(child, &how, 0) < 0 && errno == EINTR)
    continue;
  if (got == sizeof answer && WIFEXITED(how) && WEXITSTATUS(how) == 0) {
    *verdict = answer;
  } else {
    verdict_set(verdict, DEAI_EVERIFY,
                "expected an undamaged ledger state, found that its reader "
                "crashed");
  }
}

void deai_guard_judge(const char *folder, const deai_genesis *genesis, uint64_t map_bytes,
                      deai_guard_verdict *verdict) {
  char path[PATH_BYTES_MAX], data[PATH_BYTES_MAX];
  struct stat info;
  int ends[2];
  memset(verdict, 0, sizeof *verdict);
  verdict_set(verdict, DEAI_ENOTFOUND, "");
  if (deai_path_join(path, sizeof path, folder, "state") != DEAI_OK ||
      deai_path_join(data, sizeof data, folder, "state/data.mdb") != DEAI_OK)
    return;
  if (stat(data, &info) != 0) return;
  if (pipe2(ends, O_CLOEXEC) != 0) {
    verdict_set(verdict, DEAI_EIO, "expected a pipe for the reader of the state, found none");
    return;
  }
  pid_t child = fork();
  if (child == 0) child_run(ends[1], path, (uint64_t)info.st_size, genesis, map_bytes);
  (void)close(ends[1]);
  if (child < 0) {
    verdict_set(verdict, DEAI_EIO, "expected a process for the reader of the state, found none");
  } else {
    parent_wait(ends[0], child, verdict);
  }
  (void)close(ends[0]);
}
