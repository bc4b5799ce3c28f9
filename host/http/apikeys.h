#ifndef DEAI_HOST_HTTP_APIKEYS_H
#define DEAI_HOST_HTTP_APIKEYS_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdbool.h>
#include <stdint.h>

/* API keys of the HTTP port: who may ask this node when `http: { auth: true }`. A key is shown
   once, when it is made; the file DATA/api-keys (0600) holds its hash only.

     secret  "deai-" and 52 characters of base32: 32 random bytes
     line    HASH NAME\n         HASH = 64 hex digits of SHA-256("deai/api-key/1" 0x00 secret)
     id      the first 8 hex digits of HASH, for people; the first 16 bytes for the node

   The secret has 256 bits, so a plain hash is as good as a slow one.

   Threads  [any]; changes take a lock on the file DATA/api-keys.lock, so two commands at a time
            lose nothing.
   Memory   A deai_apikeys owns its rows.
   Limits   DEAI_APIKEYS_MAX keys; names of 1 to 64 printable ASCII characters without spaces. */

#define DEAI_APIKEYS_MAX         1024u
#define DEAI_APIKEYS_SECRET_CAP  64u
#define DEAI_APIKEYS_NAME_MAX    64u
#define DEAI_APIKEYS_ID_TEXT_CAP 9u

typedef struct deai_apikey {
  uint8_t hash[DEAI_HASH_BYTES];
  char name[DEAI_APIKEYS_NAME_MAX + 1];
} deai_apikey;

typedef struct deai_apikeys {
  deai_apikey *rows;
  uint32_t count;
  uint64_t stamp[4]; /* of the file that was read: inode, size, seconds, nanoseconds */
} deai_apikeys;

/* deai_apikeys_load reads the keys of a data folder; no file means no keys. DEAI_EINVAL names the
   line that is none. */
DEAI_MUST_CHECK int32_t deai_apikeys_load(const char *data, deai_apikeys *out, char *err,
                                          uint32_t err_cap);

/* deai_apikeys_refresh loads the keys again when the file is another than the one that was read, so
   that a change holds at once. After an error there are no keys, until the file changes. */
DEAI_MUST_CHECK int32_t deai_apikeys_refresh(const char *data, deai_apikeys *keys, char *err,
                                             uint32_t err_cap);

/* deai_apikeys_free frees the rows; a zeroed one is fine. */
void deai_apikeys_free(deai_apikeys *keys);

/* deai_apikeys_find returns the key of a secret or NULL. It takes the same time for every secret of
   a length, known or not. */
const deai_apikey *deai_apikeys_find(const deai_apikeys *keys, deai_str secret);

/* deai_apikeys_add makes a key with a name that no other has, writes the file and puts the secret
   into secret_out. DEAI_EINVAL (name), DEAI_EFULL. */
DEAI_MUST_CHECK int32_t deai_apikeys_add(const char *data, const char *name,
                                         char secret_out[DEAI_APIKEYS_SECRET_CAP], char *err,
                                         uint32_t err_cap);

/* deai_apikeys_remove removes the key with this name or id. DEAI_ENOTFOUND. */
DEAI_MUST_CHECK int32_t deai_apikeys_remove(const char *data, const char *which, char *err,
                                            uint32_t err_cap);

/* deai_apikeys_id writes the id of a key for people. */
void deai_apikeys_id(const deai_apikey *key, char out[DEAI_APIKEYS_ID_TEXT_CAP]);

#endif
