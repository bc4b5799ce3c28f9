#include "platform.h"

#include "assertion.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "banned.h"

_Noreturn void deai_assertion_failed(const char *file, int line, const char *condition) {
  (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
  (void)fflush(stderr);
  abort();
}

static uint64_t system_clock_ns(clockid_t clock) {
  struct timespec now;
  DEAI_ASSERT(clock_gettime(clock, &now) == 0);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t system_now_ns(void *state) {
  (void)state;
  return system_clock_ns(CLOCK_MONOTONIC);
}

static uint64_t system_wall_ms(void *state) {
  (void)state;
  return system_clock_ns(CLOCK_REALTIME) / UINT64_C(1000000);
}

static void system_random(void *state, void *out, size_t len) {
  (void)state;
  uint8_t *at = out;
  while (len > 0) {
    ssize_t got = getrandom(at, len, 0);
    if (got < 0 && errno == EINTR) continue;
    DEAI_ASSERT(got > 0);
    at += got;
    len -= (size_t)got;
  }
}

static int system_sync(void *state, int fd) {
  (void)state;
  return fdatasync(fd);
}

static const deai_platform system_platform = {
    .state = NULL,
    .now_ns = system_now_ns,
    .wall_ms = system_wall_ms,
    .random_bytes = system_random,
    .sync = system_sync,
};

const deai_platform *deai_platform_system(void) {
  return &system_platform;
}

uint64_t deai_now_ns(const deai_platform *platform) {
  return platform->now_ns(platform->state);
}

uint64_t deai_wall_ms(const deai_platform *platform) {
  return platform->wall_ms(platform->state);
}

void deai_random(const deai_platform *platform, void *out, size_t len) {
  platform->random_bytes(platform->state, out, len);
}
