#ifndef DEAI_HOST_CONFIG_CONFIG_H
#define DEAI_HOST_CONFIG_CONFIG_H

#include "deai/codec.h"
#include "host/plugin/loader.h"

#include <stdio.h>

/* The config of a node: one YAML file, every key with a default, checked as a whole before any code
   of a plug-in runs (`deaid --check-config`).

     data: DIR          keys, ledger, plug-ins' folders, deai.sock
     name: attic
     plugin_dir: DIR    where plug-ins lie; "storage/blocks" is the file storage-blocks.so
     http:   { listen: 127.0.0.1:8340, hosts: [], auth: false, per_address: 64 }
     peers:  { listen: 127.0.0.1:8341, announce: [] }
     ledger: { engine: local, deposit: 1, claim: 10m, close_after: 24h }
     log:    { level: info, format: text }
     plugins:
       storage/blocks: { path, sha256, isolation, optional, memory, ... settings of the plug-in }

   Threads  [loop]
   Memory   A deai_config owns everything in it; free it with deai_config_free.
   Limits   CONFIG_BYTES_MAX for the file, CONFIG_PLUGINS_MAX plug-ins. */

#define DEAI_CONFIG_BYTES_MAX   1048576u
#define DEAI_CONFIG_PLUGINS_MAX 32u

typedef struct deai_config_http {
  uint8_t auth;
  deai_list hosts; /* deai_str */
  deai_str listen; /* HOST:PORT, or "" = none */
  uint64_t per_address;
} deai_config_http;

typedef struct deai_config_peers {
  deai_str listen;
  deai_list announce; /* deai_str: addresses others should dial */
} deai_config_peers;

typedef struct deai_config_log {
  deai_str level;
  deai_str format;
} deai_config_log;

typedef struct deai_config_ledger {
  uint64_t claim; /* ms between two batches of claims */
  deai_str engine;
  uint64_t deposit;     /* of a new channel, 10^-9 coin */
  uint64_t close_after; /* ms */
} deai_config_ledger;

typedef struct deai_config_node {
  deai_config_log log;
  deai_str data;
  deai_config_http http;
  deai_str name;
  deai_config_peers peers;
  deai_config_ledger ledger;
  deai_str plugin_dir;
} deai_config_node;

typedef struct deai_config_plugin {
  char name[DEAI_NAME_MAX + 1];
  deai_loaded loaded; /* opened and checked, not loaded */
  int32_t isolation;  /* -1 as the manifest says, 0 inproc, 1 process */
  bool optional;
  uint64_t memory_max;
  uint8_t *settings; /* canonical CBOR */
  uint64_t settings_len;
  char reason[DEAI_ERR_CAP]; /* optional and refused: why; loaded.fd is -1 then */
} deai_config_plugin;

typedef struct deai_config {
  deai_config_node node;
  uint32_t plugin_count;
  deai_config_plugin plugins[DEAI_CONFIG_PLUGINS_MAX];
  uint8_t *room; /* what node points into */
  uint8_t *arena;
  uint8_t *text; /* of the file, which the document borrows */
} deai_config;

/* deai_config_load reads and checks file. DEAI_EINVAL with FILE:LINE:COLUMN: expected, found, what
   to do; nothing is kept then. */
DEAI_MUST_CHECK int32_t deai_config_load(const char *file, deai_config *out, char *err,
                                         uint32_t err_cap);

/* deai_config_print writes every effective value as YAML; secrets are left out. */
void deai_config_print(const deai_config *config, FILE *out);

/* deai_config_free frees what load took. */
void deai_config_free(deai_config *config);

#endif
