#ifndef DEAI_HOST_BASE_PLATFORM_H
#define DEAI_HOST_BASE_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

/* A deai_platform is everything that differs between a real node and a simulated one: clocks,
   randomness and the syncs of the disk. The loop (loop.h) takes its time from it.

   Threads  [any]; the real one has no state.
   Memory   The table outlives all users.
   Caveats  Block time, vouchers and receipts never use wall_ms but through the ledger's rules. */

typedef struct deai_platform {
  void *state;
  /* monotonic time in nanoseconds */
  uint64_t (*now_ns)(void *state);
  /* wall clock in milliseconds since 1970 */
  uint64_t (*wall_ms)(void *state);
  /* len bytes from the system's cryptographic source */
  void (*random_bytes)(void *state, void *out, size_t len);
  /* sync makes the data of descriptor fd durable; 0 or -1 with errno */
  int (*sync)(void *state, int fd);
} deai_platform;

/* deai_platform_system returns the platform of the machine itself. */
const deai_platform *deai_platform_system(void);

/* deai_now_ns, deai_wall_ms and deai_random are short forms. */
uint64_t deai_now_ns(const deai_platform *platform);
/* deai_wall_ms returns the wall clock of platform in milliseconds. */
uint64_t deai_wall_ms(const deai_platform *platform);
/* deai_random fills out with len random bytes. */
void deai_random(const deai_platform *platform, void *out, size_t len);

#endif
