#ifndef DEAI_HOST_PLUGIN_MANIFEST_H
#define DEAI_HOST_PLUGIN_MANIFEST_H

#include "deai/status.h"
#include "deai/types.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The manifest of a plug-in: UTF-8 JSON in the ELF note "deai" of its .so, the only source of what
   it is called, what it offers, needs, submits and how it is set up. It is read without running any
   code of the plug-in.

     { "id": "storage/blocks", "version": "0.1.0", "about": "content-addressed blocks",
       "offers":  [ { "service": "deai.blocks/1-draft", "methods": { "have": "member" } } ],
       "needs":   [ "deai.lm/1-draft" ],        services it may call
       "submits": [ "registry/1 put" ],         operations it may propose to the ledger
       "http":    [ "/ipfs/" ],                 path prefixes it answers (offers deai.http/1-draft)
       "topics":  [ "ledger" ],                 updates it gets
       "isolation": "inproc" | "process",       the default, "process" when absent
       "devices": [ "gpu" ],                    device nodes it needs
       "settings": { JSON Schema, the subset of docs/plugin-authors.md } }

   Threads  [any]
   Limits   MANIFEST_BYTES_MAX for the note, 16 services, 32 methods each, 16 of the other lists.
   Caveats  Unknown keys are refused: a newer manifest needs a newer host. */

#define DEAI_MANIFEST_BYTES_MAX 65536u
#define DEAI_MANIFEST_LIST_MAX  16u
#define DEAI_MANIFEST_METHODS   32u

typedef struct deai_manifest_method {
  const char *name;
  uint32_t method_class; /* a deai_class of host/call.h */
} deai_manifest_method;

typedef struct deai_manifest_service {
  const char *id;
  uint32_t method_count;
  deai_manifest_method methods[DEAI_MANIFEST_METHODS];
} deai_manifest_service;

typedef struct deai_manifest_list {
  uint32_t count;
  const char *items[DEAI_MANIFEST_LIST_MAX];
} deai_manifest_list;

typedef struct deai_manifest {
  json_t *json; /* owns all texts below */
  const char *id;
  const char *version;
  const char *about;
  uint32_t offer_count;
  deai_manifest_service offers[DEAI_MANIFEST_LIST_MAX];
  deai_manifest_list needs;
  deai_manifest_list submits;
  deai_manifest_list http;
  deai_manifest_list topics;
  deai_manifest_list devices;
  bool inproc;
  json_t *settings; /* schema or NULL, borrowed from json */
} deai_manifest;

/* deai_manifest_note finds the note in the ELF file fd and copies its text into a fresh buffer
   (free it). DEAI_EINVAL when the file is no ELF shared object or has no note, DEAI_ETOOLARGE. */
DEAI_MUST_CHECK int32_t deai_manifest_note(int fd, char **text_out, uint64_t *len_out, char *err,
                                           uint32_t err_cap);

/* deai_manifest_parse reads the JSON text; free with deai_manifest_free, also after a refusal. */
DEAI_MUST_CHECK int32_t deai_manifest_parse(const char *text, uint64_t len, deai_manifest *out,
                                            char *err, uint32_t err_cap);

/* deai_manifest_free frees what parse took; a zeroed manifest is allowed. */
void deai_manifest_free(deai_manifest *manifest);

/* deai_manifest_needs returns whether the plug-in may call service. */
bool deai_manifest_needs(const deai_manifest *manifest, deai_str service);

/* deai_manifest_class returns the class of a method it offers, or -1 when it does not. */
int32_t deai_manifest_class(const deai_manifest *manifest, deai_str service, deai_str method);

/* deai_manifest_may_submit checks that ops (CBOR list of op) has only operations that the manifest
   names: DEAI_OK, DEAI_EDENIED or DEAI_EINVAL with a reason. */
DEAI_MUST_CHECK int32_t deai_manifest_may_submit(const deai_manifest *manifest, deai_bytes ops,
                                                 char *err, uint32_t err_cap);

#endif
