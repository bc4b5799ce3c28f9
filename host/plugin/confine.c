#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/base/banned.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUILD_HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BUILD_HAS_SANITIZER 1
#endif
#endif
#ifndef BUILD_HAS_SANITIZER
#define BUILD_HAS_SANITIZER 0
#endif

#define READ_RIGHTS                                                                                \
  (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ALL_RIGHTS                                                                                 \
  (READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                   \
   LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |    \
   LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |     \
   LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)

static const char *const read_only[] = {"/usr", "/lib", "/lib64", "/etc", "/sys", "/proc"};
static const char *const devices[] = {"/dev/dri",        "/dev/nvidia0",        "/dev/nvidiactl",
                                      "/dev/nvidia-uvm", "/dev/nvidia-modeset", "/dev/kfd"};
static const char *const always[] = {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"};

static int32_t limit(int what, uint64_t value) {
  struct rlimit both = {value, value};
  return setrlimit((__rlimit_resource_t)what, &both) == 0 ? DEAI_OK : DEAI_EIO;
}

static int32_t allow_fd(int rules, int fd, uint64_t rights) {
  struct landlock_path_beneath_attr beneath = {.allowed_access = rights, .parent_fd = fd};
  long added = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
  return added == 0 ? DEAI_OK : DEAI_EIO;
}

/* allow adds path to the rules; a path that is not there needs no rule. */
static int32_t allow(int rules, const char *path, uint64_t rights) {
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return DEAI_OK;
  int32_t status = allow_fd(rules, fd, rights);
  (void)close(fd);
  return status;
}

static int32_t allow_all(int rules, const deai_confine_options *options) {
  uint64_t file_rights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
  int32_t status = allow(rules, options->folder, ALL_RIGHTS);
  if (status == DEAI_OK)
    status = allow_fd(rules, options->plugin_fd,
                      LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE);
  for (size_t i = 0; i < sizeof read_only / sizeof read_only[0] && status == DEAI_OK; i++)
    status = allow(rules, read_only[i], READ_RIGHTS);
  for (size_t i = 0; i < sizeof always / sizeof always[0] && status == DEAI_OK; i++)
    status = allow(rules, always[i], file_rights);
  for (size_t i = 0; options->gpu && i < sizeof devices / sizeof devices[0]; i++) {
    uint64_t rights = i == 0 ? file_rights | LANDLOCK_ACCESS_FS_READ_DIR : file_rights;
    if (status == DEAI_OK) status = allow(rules, devices[i], rights);
  }
  return status;
}

static int32_t confine_paths(const deai_confine_options *options, bool *landlock_out) {
  struct landlock_ruleset_attr attributes = {.handled_access_fs = ALL_RIGHTS};
  *landlock_out = false;
  int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  if (rules < 0) return errno == ENOSYS || errno == EOPNOTSUPP ? DEAI_OK : DEAI_EIO;
  int32_t status = allow_all(rules, options);
  if (status == DEAI_OK && syscall(SYS_landlock_restrict_self, rules, 0) != 0) status = DEAI_EIO;
  (void)close(rules);
  *landlock_out = status == DEAI_OK;
  return status;
}

int32_t deai_confine(const deai_confine_options *options, bool *landlock_out) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return DEAI_EIO;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return DEAI_EIO;
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return DEAI_EIO;
  int32_t status = limit(RLIMIT_CORE, 0);
  if (status == DEAI_OK) status = limit(RLIMIT_NOFILE, 1024);
  if (status == DEAI_OK && options->memory_max > 0 && !BUILD_HAS_SANITIZER)
    status = limit(RLIMIT_AS, options->memory_max);
  if (status != DEAI_OK) return status;
  return confine_paths(options, landlock_out);
}
