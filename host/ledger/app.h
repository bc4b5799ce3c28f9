#ifndef DEAI_HOST_LEDGER_APP_H
#define DEAI_HOST_LEDGER_APP_H

#include "host/ledger/abci.h"
#include "host/ledger/genesis.h"

/* A deai_app is the state machine: the modules of genesis over one deai_state, offered as the
   deai_abci table.

   A transaction: key, nonce, expiry, fee (account/1) -> for each operation the key's right, then
   the module -> the key's daily cap. It succeeds as a whole or leaves no trace.
   After each block: minted - burned = sum of balances, or the block is refused (DEAI_EINTERNAL).

   Threads, Memory  As in abci.h. */

typedef struct deai_app deai_app;

/* deai_app_new makes the machine over a state; both must outlive it. */
DEAI_MUST_CHECK int32_t deai_app_new(deai_state *state, const deai_genesis_box *genesis,
                                     deai_app **app_out, char *err, uint32_t err_cap);

/* deai_app_free ends it; NULL is allowed. */
void deai_app_free(deai_app *app);

/* deai_app_table returns its table, valid as long as the machine. */
const deai_abci *deai_app_table(deai_app *app);

/* deai_app_rules_check compares the rules in force with those of this build: DEAI_EVERSION names a
   module that must be upgraded. */
DEAI_MUST_CHECK int32_t deai_app_rules_check(deai_app *app, char *err, uint32_t err_cap);

/* deai_app_conserved adds up all committed balances: DEAI_EVERIFY when they are not minted -
   burned. */
DEAI_MUST_CHECK int32_t deai_app_conserved(deai_app *app, char *err, uint32_t err_cap);

#endif
