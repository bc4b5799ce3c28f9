/* Confinement, each time in a process of its own (Check forks every test). */
#include "tests/testing.h"

#include "host/plugin/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/banned.h"

typedef int child_fn(const char *folder, bool landlock);

/* in_child confines a forked process and returns the exit code of fn in it. */
static int in_child(uint64_t memory_max, child_fn *fn) {
  const char *folder = testing_folder();
  pid_t pid = fork();
  ck_assert_int_ge(pid, 0);
  if (pid == 0) {
    bool landlock = false;
    int fd = open(getenv("DEAI_ECHO_PLUGIN"), O_RDONLY | O_CLOEXEC);
    deai_confine_options options = {
        .folder = folder, .plugin_fd = fd, .memory_max = memory_max, .gpu = true};
    if (deai_confine(&options, &landlock) != DEAI_OK) _exit(99);
    _exit(fn(folder, landlock));
  }
  int how = 0;
  ck_assert_int_eq(waitpid(pid, &how, 0), pid);
  ck_assert_msg(WIFEXITED(how), "ended by signal %d", WTERMSIG(how));
  return WEXITSTATUS(how);
}

static int tries_to_leave(const char *folder, bool landlock) {
  char path[4200];
  (void)folder;
  if (!landlock) return 77; /* a kernel without Landlock: said so, not hidden */
  (void)snprintf(path, sizeof path, "%s/../deai-escape-%d", folder, (int)getpid());
  if (open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) >= 0) return 1;
  if (errno != EACCES) return 2;
  if (open("/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0) return 3;
  if (unlink("/etc/hostname") == 0) return 4;
  return 0;
}

START_TEST(paths_outside_its_folder_are_closed) {
  int code = in_child(0, tries_to_leave);
  if (code == 77) printf("skipped: this kernel has no Landlock\n");
  ck_assert_msg(code == 0 || code == 77, "exit code %d", code);
}
END_TEST

static int has_given_up(const char *folder, bool landlock) {
  struct rlimit limit;
  (void)folder, (void)landlock;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 1;
  if (prctl(PR_GET_DUMPABLE) != 0) return 2;
  int signal_number = 0;
  if (prctl(PR_GET_PDEATHSIG, &signal_number) != 0 || signal_number != SIGKILL) return 3;
  if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_max != 0) return 4;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max != 1024) return 5;
  return 0;
}

START_TEST(privileges_core_and_life_are_given_up) {
  ck_assert_int_eq(in_child(0, has_given_up), 0);
}
END_TEST

static int has_memory_cap(const char *folder, bool landlock) {
  struct rlimit limit;
  (void)folder, (void)landlock;
  if (getrlimit(RLIMIT_AS, &limit) != 0) return 1;
  if (limit.rlim_max == RLIM_INFINITY) return 77; /* a sanitizer build */
  void *much = malloc(512u << 20);
  int failed = much == NULL ? 0 : 2;
  free(much);
  return failed;
}

START_TEST(memory_has_its_cap) {
  int code = in_child(256u << 20, has_memory_cap);
  ck_assert_msg(code == 0 || code == 77, "exit code %d", code);
}
END_TEST

static int uses_its_folder(const char *folder, bool landlock) {
  char path[4200];
  char other[4200];
  (void)landlock;
  (void)snprintf(path, sizeof path, "%s/own-file", folder);
  (void)snprintf(other, sizeof other, "%s/renamed", folder);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) != 0) return 1;
  if (rename(path, other) != 0) return 2;
  if (unlink(other) != 0) return 3;
  if (open("/dev/null", O_RDWR | O_CLOEXEC) < 0) return 4;
  if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0) return 5;
  return 0;
}

START_TEST(its_own_folder_stays_open) {
  ck_assert_int_eq(in_child(0, uses_its_folder), 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("confine");
  TCase *tests = tcase_create("confine");
  tcase_add_test(tests, paths_outside_its_folder_are_closed);
  tcase_add_test(tests, privileges_core_and_life_are_given_up);
  tcase_add_test(tests, memory_has_its_cap);
  tcase_add_test(tests, its_own_folder_stays_open);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
