#ifndef DEAI_TESTS_HOST_LEDGER_FIXTURE_H
#define DEAI_TESTS_HOST_LEDGER_FIXTURE_H

#include "host/base/keys.h"
#include "host/base/platform.h"
#include "host/ledger/genesis.h"
#include "host/ledger/ledger.h"
#include "host/ledger/tx.h"

/* What the tests of the ledger share: a network whose keys come from small seeds, a clock that the
   test moves, and calls that wait for their answer.

   Seeds  1 wallet, 2 node, 3 order of the owner; others as the test likes.
   All functions abort the test on what they do not expect. */

#define FIXTURE_T0 UINT64_C(1700000000000) /* genesis time */

typedef struct fixture {
  char folder[4096];
  deai_genesis_box *genesis;
  deai_key *wallet;
  deai_key *node;
  deai_key *order;
  uint8_t owner[DEAI_ACCT_BYTES];
  deai_platform platform; /* its clocks are moved by fixture_move */
  uint64_t wall_ms;
  uint64_t now_ns;
  deai_ledger *ledger;
  deai_ledger_update last; /* height and time of the last block */
  uint32_t blocks;
  deai_tx_builder *builder;
  char err[400];                  /* text of the last answer */
  uint8_t tx_id[DEAI_HASH_BYTES]; /* of the last submit */
  uint64_t height;
} fixture;

/* fixture_key makes the key of a seed. */
deai_key *fixture_key(uint8_t seed);

/* fixture_start makes keys and genesis in a fresh folder; tweak (may be NULL) changes options. */
void fixture_start(fixture *net, void (*tweak)(deai_genesis_options *options));

/* fixture_open opens the ledger (engine local); fixture_try_open returns the status instead. */
void fixture_open(fixture *net);
int32_t fixture_try_open(fixture *net, deai_ledger_engine engine, uint32_t read_only);

/* fixture_close closes the ledger; fixture_end also frees keys and genesis. */
void fixture_close(fixture *net);
void fixture_end(fixture *net);

/* fixture_move moves both clocks by ms and wakes the ledger. */
void fixture_move(fixture *net, uint64_t ms);

/* fixture_begin starts a transaction of account with key's next nonce in net->builder. */
void fixture_begin(fixture *net, const uint8_t account[DEAI_ACCT_BYTES], const deai_key *key);

/* fixture_send signs the builder's transaction with key, submits it and waits for its status. */
int32_t fixture_send(fixture *net, const deai_key *key);

/* fixture_submit submits bytes and waits for the status. */
int32_t fixture_submit(fixture *net, deai_bytes bytes);

/* fixture_transfer sends coins and waits. */
int32_t fixture_transfer(fixture *net, const deai_key *key, const uint8_t to[DEAI_ACCT_BYTES],
                         uint64_t amount);

/* fixture_account creates the account of the key of seed with all rights and gives it coins. */
void fixture_account(fixture *net, uint8_t seed, uint64_t coins, uint8_t out[DEAI_ACCT_BYTES]);

/* fixture_member makes the key of seed a member node of account. */
void fixture_member(fixture *net, uint8_t seed, const char *name,
                    const uint8_t account[DEAI_ACCT_BYTES], deai_role role);

/* fixture_balance returns the coins of account. */
uint64_t fixture_balance(fixture *net, const uint8_t account[DEAI_ACCT_BYTES]);

/* fixture_wait waits until the ledger has height. */
void fixture_wait(fixture *net, uint64_t height);

#endif
