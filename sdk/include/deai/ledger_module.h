#ifndef DEAI_LEDGER_MODULE_H
#define DEAI_LEDGER_MODULE_H

#include "deai/contracts/ledger.h"
#include "deai/status.h"
#include "deai/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai.ledger-module/1: the typed table of a ledger module, a part of the one deterministic state
   machine that all nodes of a network run.

     genesis once -> (check, apply)* of the operations of a block -> end_block -> next block

   A module owns tables of records, declared in genesis with their order and bits; only it writes
   them, everyone may query them. It sees the world only through its context: no clock, no
   randomness, no input or output, no floats, no static variable that changes. Two runs over the
   same blocks give the same bytes on every machine, or the network stops.

   Threads  All functions run on the ledger's own thread (or, in `verify`, on the caller's).
   Memory   Bytes that get, query and iterate hand out are valid until the function of the module
            returns; what take returns as well. Keys and values given to put are copied.
   Errors   A negative status from apply undoes the whole transaction; fail writes its text.
   Limits   DEAI_LEDGER_KEY_MAX bytes a key, DEAI_LEDGER_VALUE_MAX a value. */

#define DEAI_LEDGER_MODULE_ID "deai.ledger-module/1"
#define DEAI_LEDGER_KEY_MAX   256u
#define DEAI_LEDGER_VALUE_MAX 65536u
#define DEAI_LEDGER_BITS_MAX  16u
#define DEAI_LEDGER_NEVER     UINT64_MAX /* no due time */

/* iterate calls it for each record; any value but DEAI_OK ends the walk and is returned. */
typedef int32_t deai_ledger_each(void *user, deai_bytes key, deai_bytes value);

typedef struct deai_ledger_ctx deai_ledger_ctx;

/* What the ledger offers to a module. Tables of the own module are named by their number in
   deai_ledger_module.tables. */
struct deai_ledger_ctx {
  uint32_t size;
  uint32_t reserved;
  void *impl;

  /* get sets *value to the record of key, or returns DEAI_ENOTFOUND */
  int32_t (*get)(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key, deai_bytes *value);
  /* put writes a record */
  int32_t (*put)(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key, deai_bytes value);
  /* del removes a record; DEAI_ENOTFOUND when there is none */
  int32_t (*del)(deai_ledger_ctx *ctx, uint32_t table, deai_bytes key);
  /* iterate walks the records whose keys start with prefix, bucket by bucket, in key order inside a
     bucket; a table with bits 0 is one bucket. each must not write. */
  int32_t (*iterate)(deai_ledger_ctx *ctx, uint32_t table, deai_bytes prefix,
                     deai_ledger_each *each, void *user);
  /* query reads the record of another module's table, or asks its query function when name is no
     table of it */
  int32_t (*query)(deai_ledger_ctx *ctx, deai_str module, deai_str name, deai_bytes key,
                   deai_bytes *value);
  /* transfer moves coins between accounts; DEAI_EPAYMENT when from has too few. An account that a
     module holds in trust is made by its first transfer in. */
  int32_t (*transfer)(deai_ledger_ctx *ctx, const uint8_t from[DEAI_ACCT_BYTES],
                      const uint8_t to[DEAI_ACCT_BYTES], uint64_t amount);
  /* verify judges a signature of type "voucher" (0) or "receipt" (1) for this network */
  int32_t (*verify)(deai_ledger_ctx *ctx, uint32_t type, deai_bytes bytes,
                    const uint8_t key[DEAI_KEY_BYTES], const uint8_t sig[DEAI_SIG_BYTES]);
  /* key_check returns DEAI_OK when key may be registered */
  int32_t (*key_check)(deai_ledger_ctx *ctx, const uint8_t key[DEAI_KEY_BYTES]);
  /* sha256 hashes bytes */
  void (*sha256)(deai_ledger_ctx *ctx, deai_bytes bytes, uint8_t out[DEAI_HASH_BYTES]);
  /* event tells subscribers; it is no part of the state */
  void (*event)(deai_ledger_ctx *ctx, deai_str name, deai_bytes body);
  /* take returns len bytes of scratch memory, or NULL */
  void *(*take)(deai_ledger_ctx *ctx, uint64_t len);
  /* fail keeps the text of an error and returns status: expected, found, what to do */
  int32_t (*fail)(deai_ledger_ctx *ctx, int32_t status, const char *format, ...);
  /* param returns a parameter of genesis, or fallback */
  uint64_t (*param)(deai_ledger_ctx *ctx, const char *name, uint64_t fallback);

  uint64_t height; /* of the block that is made */
  uint64_t time;   /* its block time, ms */

  /* the transaction; zero in genesis and end_block */
  uint8_t account[DEAI_ACCT_BYTES]; /* that signed */
  uint8_t key[DEAI_KEY_BYTES];      /* its key */
  uint8_t tx_id[DEAI_HASH_BYTES];
  uint32_t op_index;
  uint32_t key_is_owner; /* 1 when the key's rights hold "*" */
};

typedef struct deai_ledger_table {
  const char *name;    /* NULL ends the list */
  uint32_t one_bucket; /* 1: genesis must declare it with bits 0, so that iterate is in key order;
                           for small tables and queues */
  uint32_t reserved;
} deai_ledger_table;

typedef struct deai_ledger_module {
  uint32_t size;                   /* of this struct */
  uint32_t rules;                  /* version of the rules this code follows */
  const char *id;                  /* "account/1" */
  const deai_ledger_table *tables; /* ends with a row without name */

  /* genesis writes the first records */
  int32_t (*genesis)(deai_ledger_ctx *ctx, const deai_genesis *genesis);
  /* check judges the form of an operation without state */
  int32_t (*check)(deai_ledger_ctx *ctx, deai_str type, deai_bytes body);
  /* apply does the operation, or refuses it */
  int32_t (*apply)(deai_ledger_ctx *ctx, deai_str type, deai_bytes body);
  /* end_block does what is due at ctx->time and sets *due_out to the next time it must run, or
     DEAI_LEDGER_NEVER; may be NULL */
  int32_t (*end_block)(deai_ledger_ctx *ctx, uint64_t *due_out);
  /* query answers what is no table; may be NULL */
  int32_t (*query)(deai_ledger_ctx *ctx, deai_str name, deai_bytes key, deai_bytes *value);
} deai_ledger_module;

#ifdef __cplusplus
}
#endif

#endif
