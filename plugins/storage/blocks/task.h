#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_TASK_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_TASK_H

#include "store.h"
#include "workers.h"

#include "deai/contracts/blocks.h"

#include <stdatomic.h>
#include <stdbool.h>

/* What the files of the plug-in share; nobody else includes it.

     plugin.c        life of the instance, dispatch by method, the store's opening
     task.c          one call that is served: steps, parts, sync, cancel
     serve_blocks.c  have, get, open, stat, pin, unpin, list, verify, collect
     serve_add.c     add
     serve_read.c    read, entries
     serve_fetch.c   fetch: calls to members; fetch.h walks the DAG
     serve_http.c    request: the gateway; gateway.h reads and writes HTTP

   A blocks_task is one call served. It alternates between the loop and a worker: the worker does
   one step, which makes at most one part; the loop sends that part and asks for the next step. So
   each call holds one part at most, the workers serve all calls in turn, and a call can be
   cancelled between any two steps.

     begin [loop] -> prepare [loop] -> step [worker] -> looped [loop] -> part out -> step ...
                                          '-- END, or SYNC: one sync for all that wait, then END
     close [worker] frees what the call held; cancelled calls end at once and close later

   Threads  As tagged. What a method keeps in its state belongs to the worker during a step and to
            the loop otherwise, but for what its own comment says.
   Limits   BLOCKS_TASKS_MAX calls, and the max of each method; above: DEAI_EBUSY. */

#define BLOCKS_TASKS_MAX     256u
#define BLOCKS_WORKERS       2u
#define BLOCKS_METHODS_MAX   16u
#define BLOCKS_PART_BYTES    262144u    /* of a file, in one part: four share a window */
#define BLOCKS_INBOX_BYTES   (4u << 20) /* of an add that wait for the disk, then DEAI_EAGAIN */
#define BLOCKS_PROGRESS_MS   100u
#define BLOCKS_REOPEN_MS     5000u      /* after a store that could not be opened */
#define BLOCKS_HEAD_ROOM     61440u     /* bytes of lists in one head of at most 64 KiB */
#define BLOCKS_CHECKED_BYTES (8u << 20) /* one step of verify reads about as much */

typedef struct blocks_task blocks_task;

/* What a step says besides a negative status. */
typedef enum blocks_next {
  BLOCKS_NEXT_AGAIN = 0, /* the next step, once the part is taken */
  BLOCKS_NEXT_WAIT = 1,  /* the next step when blocks_task_wake asks for it */
  BLOCKS_NEXT_END = 2,   /* the part is the END */
  BLOCKS_NEXT_SYNC = 3   /* as END, after a sync */
} blocks_next;

typedef struct blocks_method {
  const char *service;
  const char *name;
  uint32_t number;      /* its place in deai_inst.counts */
  uint32_t max;         /* at a time */
  uint32_t arena_bytes; /* for the lists of the arguments */
  size_t state_bytes;   /* of task->state, zeroed */
  /* begin reads the arguments (task->given) into the state; a refusal ends the call. [loop] */
  int32_t (*begin)(blocks_task *task, const deai_part *first, char *err, uint32_t err_cap);
  /* step does the next piece; a blocks_next, or a negative status with the text in task->err.
     [worker] */
  int32_t (*step)(blocks_task *task);
  /* close frees what the state holds. [worker] */
  void (*close)(blocks_task *task);
  /* The rest may be NULL. prepare is called before each step, looped after it, part for later
     parts of the caller, gone when the call is over before its last step. [loop] */
  void (*prepare)(blocks_task *task);
  void (*looped)(blocks_task *task);
  int32_t (*part)(blocks_task *task, const deai_part *part);
  void (*gone)(blocks_task *task);
} blocks_method;

/* The part a step made. */
typedef struct blocks_out {
  bool used;
  blocks_buf args; /* kept from part to part */
  deai_buffer *buffer;
  uint64_t body_len;
  int fd; /* -1, or the attachment */
} blocks_out;

struct blocks_task {
  blocks_job job; /* first, so that one pointer is the other */
  blocks_task *next;
  blocks_task *next_sync;
  deai_inst *inst;
  const blocks_method *method;
  uint64_t ticket;
  bool at_worker; /* the worker has it */
  bool in_sync;   /* it waits for a sync */
  bool blocked;   /* its part waits for on_drain */
  bool waiting;   /* its last step said WAIT */
  bool wake;
  bool over;             /* its END was sent or is not wanted any more */
  bool closed;           /* what the state held is freed */
  atomic_bool cancelled; /* long steps look at it */
  blocks_store *store;
  const deai_host *host;
  deai_ctx *ctx;
  deai_bytes given; /* own copy of the arguments; decoded texts point into it */
  deai_arena arena;
  int32_t result; /* of the step */
  blocks_error err;
  blocks_out out;
  void *state;
};

struct deai_inst {
  const deai_host *host;
  deai_ctx *ctx;
  uint64_t bytes_max;
  char *folder;
  blocks_workers *workers;
  blocks_store *store; /* NULL until it is open */
  int32_t store_state; /* DEAI_OK, DEAI_EAGAIN while it is being opened, or why it is not open */
  blocks_job opening;
  blocks_store *opened; /* the next three are the worker's while it opens */
  int32_t open_status;
  blocks_error open_err;
  uint64_t open_shown; /* progress told */
  blocks_task *tasks;
  uint32_t task_count;
  uint32_t counts[BLOCKS_METHODS_MAX]; /* tasks of a method */
  blocks_job syncing;
  bool sync_runs;
  blocks_task *sync_batch;  /* waits for the sync that runs */
  blocks_task *sync_next;   /* and for the one after it */
  blocks_store *sync_store; /* the next three are the worker's while it syncs */
  int32_t sync_status;
  blocks_error sync_err;
  bool fetch_timer; /* a retry of calls to members is due */
};

/* The methods, in the files that serve them. */
extern const blocks_method blocks_method_have;
extern const blocks_method blocks_method_get;
extern const blocks_method blocks_method_open;
extern const blocks_method blocks_method_stat;
extern const blocks_method blocks_method_pin;
extern const blocks_method blocks_method_unpin;
extern const blocks_method blocks_method_list;
extern const blocks_method blocks_method_verify;
extern const blocks_method blocks_method_collect;
extern const blocks_method blocks_method_add;
extern const blocks_method blocks_method_read;
extern const blocks_method blocks_method_entries;
extern const blocks_method blocks_method_fetch;
extern const blocks_method blocks_method_request;

/* blocks_task_begin starts serving ticket with method; a refusal is the answer of on_call. [loop]
 */
DEAI_MUST_CHECK int32_t blocks_task_begin(deai_inst *inst, const blocks_method *method,
                                          uint64_t ticket, const deai_part *first, char *err,
                                          uint32_t err_cap);

/* blocks_task_find returns the call of ticket that is not over, or NULL. [loop] */
blocks_task *blocks_task_find(deai_inst *inst, uint64_t ticket);

/* blocks_task_wake asks for a step of a task that waits, or for another one when it does not.
   [loop]
 */
void blocks_task_wake(blocks_task *task);

/* blocks_task_drain goes on with the part that waits. [loop] */
void blocks_task_drain(blocks_task *task);

/* blocks_task_store gives a task that was begun before the store was open its first step. [loop] */
void blocks_task_store(blocks_task *task, blocks_store *store);

/* blocks_task_cancel ends the call at once; what it holds is freed soon. [loop] */
void blocks_task_cancel(blocks_task *task, int32_t status);

/* blocks_task_fail ends the call with status and text and closes it. [loop] */
void blocks_task_fail(blocks_task *task, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* blocks_task_drop frees a task once the workers have ended. [loop] */
void blocks_task_drop(blocks_task *task);

/* blocks_task_args puts value as the head of the part. DEAI_EINVAL, DEAI_ETOOLARGE, DEAI_ENOMEM.
   [worker] */
DEAI_MUST_CHECK int32_t blocks_task_args(blocks_task *task, const deai_table *table,
                                         const void *value);

/* blocks_task_body makes room for len bytes (at most DEAI_BODY_MAX) as the body of the part and
   sets *room_out; set out.body_len to less when less came. [worker] */
DEAI_MUST_CHECK int32_t blocks_task_body(blocks_task *task, uint64_t len, uint8_t **room_out);

/* blocks_task_progress puts the progress into the part when BLOCKS_PROGRESS_MS have passed since
   *last_ms. [worker] */
DEAI_MUST_CHECK int32_t blocks_task_progress(blocks_task *task, uint64_t *last_ms, uint64_t done,
                                             uint64_t of);

/* blocks_task_cid reads the CID of an argument; the text names what to give. [any] */
DEAI_MUST_CHECK int32_t blocks_task_cid(deai_bytes bytes, blocks_cid *out, char *err,
                                        uint32_t err_cap);

/* blocks_task_read fills room with the bytes of a file from offset on, which must be there.
   [worker] */
DEAI_MUST_CHECK int32_t blocks_task_read(blocks_task *task, blocks_reader *reader, uint64_t offset,
                                         deai_buf room);

/* blocks_fetch_part takes a part of a call made to a member; false = the ticket is none. [loop] */
bool blocks_fetch_part(deai_inst *inst, uint64_t ticket, const deai_part *part);

/* blocks_task_ms returns monotonic milliseconds. [any] */
uint64_t blocks_task_ms(void);

#endif
