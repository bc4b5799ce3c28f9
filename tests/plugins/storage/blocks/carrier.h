#ifndef DEAI_TESTS_PLUGINS_STORAGE_BLOCKS_CARRIER_H
#define DEAI_TESTS_PLUGINS_STORAGE_BLOCKS_CARRIER_H

#include "deai/contracts/blocks.h"
#include "deai/contracts/http.h"
#include "deai/contracts/wire.h"
#include "host/plugin/child.h"
#include "tests/plugins/storage/blocks/tools.h"

/* The plug-in storage/blocks in this process or in a child, members that answer its calls out of a
   store of the test, and a caller that keeps what comes back. Failures abort.

   Threads  one: the loop runs inside the functions that wait. */

#define MEMBERS_MAX   4u
#define TIRED_ANSWERS 4u

/* What a member of the test's network does when it is asked for a block. */
typedef enum member_kind {
  MEMBER_GOOD = 0, /* sends it, or says ENOTFOUND */
  MEMBER_EMPTY,    /* ENOTFOUND */
  MEMBER_LIAR,     /* other bytes */
  MEMBER_BUSY,     /* EBUSY the first time, then as MEMBER_GOOD */
  MEMBER_TIRED     /* as MEMBER_GOOD four times, then it never answers */
} member_kind;

typedef struct carrier {
  deai_loop *loop;
  deai_loaded loaded;
  deai_instance *instance;
  deai_child *child;
  deai_timer *limit;
  bool running;
  char folder[4200];
  blocks_store *source; /* where members have blocks from */
  member_kind members[MEMBERS_MAX];
  uint32_t member_count;
  uint32_t asked[MEMBERS_MAX];
  uint32_t open_now;
  uint32_t open_max;
} carrier;

/* A call of the test. */
typedef struct asker {
  deai_loop *loop;
  deai_call *call;
  const char *seed; /* the body is the keystream of it */
  uint64_t size;
  uint64_t sent;
  uint64_t hold_at; /* stop sending here, 0 = never */
  bool ended;
  bool slow; /* refuses every other part once */
  bool refused;
  uint64_t stop_at; /* leave the loop once so many bytes came, 0 = never */
  blocks_buf body;
  blocks_buf first; /* args of the first part */
  blocks_buf last;  /* args of the END */
  uint32_t parts;
  uint32_t ends;
  int32_t status;
  int attachment;
  bool closed;
  char why[DEAI_ERR_CAP];
} asker;

/* carrier_begin starts the plug-in on the folder NAME of the test; carrier_end stops it. */
void carrier_begin(carrier *fix, const char *name, bool in_child);
void carrier_end(carrier *fix);

/* ask begins a call with the encoded arguments; asker fields that steer it are set before. */
void ask_begin(carrier *fix, asker *who, const char *service, const char *method, deai_bytes args,
               uint32_t caller_kind);

/* ask_wait runs the loop until the call is closed. */
void ask_wait(carrier *fix, asker *who);

/* ask does both for deai.blocks/1, expects status and returns the call; free it with ask_free.
   A table of NULL stands for {}. */
asker ask(carrier *fix, const char *method, const deai_table *table, const void *value,
          int32_t status);
void ask_free(asker *who);

/* ask_cid is ask for the methods that take a CID. */
asker ask_cid(carrier *fix, const char *method, const blocks_cid *cid, int32_t status);

/* add_seed adds size bytes of the keystream of seed and returns the CID. */
blocks_cid add_seed(carrier *fix, const char *seed, uint64_t size);

#endif
