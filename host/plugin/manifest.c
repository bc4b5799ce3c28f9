#include "manifest.h"

#include "deai/cbor.h"
#include "deai/codec.h"
#include "deai/contracts/ledger.h"
#include "deai/plugin.h"
#include "host/call.h"

#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define NOTE_OWNER "deai"
#define NOTE_TYPE  1u

static const char *const class_names[] = {"public", "guest", "member", "local"};

/* note_in_section walks the notes of one section. Returns the text or NULL. */
static const char *note_in_section(Elf_Data *data, size_t *len_out) {
  GElf_Nhdr note;
  size_t name_at = 0;
  size_t desc_at = 0;
  size_t at = 0;
  while ((at = gelf_getnote(data, at, &note, &name_at, &desc_at)) > 0) {
    const char *base = data->d_buf;
    if (note.n_type != NOTE_TYPE || note.n_namesz != sizeof NOTE_OWNER) continue;
    if (memcmp(base + name_at, NOTE_OWNER, sizeof NOTE_OWNER) != 0) continue;
    *len_out = note.n_descsz;
    return base + desc_at;
  }
  return NULL;
}

static const char *note_find(Elf *elf, size_t *len_out) {
  Elf_Scn *section = NULL;
  while ((section = elf_nextscn(elf, section)) != NULL) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == NULL || header.sh_type != SHT_NOTE) continue;
    Elf_Data *data = elf_getdata(section, NULL);
    const char *text = data != NULL ? note_in_section(data, len_out) : NULL;
    if (text != NULL) return text;
  }
  return NULL;
}

int32_t deai_manifest_note(int fd, char **text_out, uint64_t *len_out, char *err,
                           uint32_t err_cap) {
  if (elf_version(EV_CURRENT) == EV_NONE)
    return deai_err(err, err_cap, DEAI_EINTERNAL, "libelf: %s", elf_errmsg(-1));
  Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
  if (elf == NULL || elf_kind(elf) != ELF_K_ELF) {
    if (elf != NULL) (void)elf_end(elf);
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "expected a shared object (ELF), found another kind of file; name the .so");
  }
  size_t len = 0;
  int32_t status = DEAI_OK;
  const char *text = note_find(elf, &len);
  if (text == NULL)
    status = deai_err(err, err_cap, DEAI_EINVAL,
                      "expected a deai manifest note, found none; build the plug-in with "
                      "DEAI_MANIFEST_FILE");
  else if (len > DEAI_MANIFEST_BYTES_MAX)
    status =
        deai_err(err, err_cap, DEAI_ETOOLARGE, "expected a manifest of at most %u bytes, found %zu",
                 DEAI_MANIFEST_BYTES_MAX, len);
  char *copy = status == DEAI_OK ? malloc(len + 1) : NULL;
  if (status == DEAI_OK && copy == NULL) status = DEAI_ENOMEM;
  if (status == DEAI_OK) {
    memcpy(copy, text, len);
    copy[len] = 0;
    *text_out = copy;
    *len_out = len;
  }
  (void)elf_end(elf);
  return status;
}

static int32_t text_of(const json_t *object, const char *key, bool needed, const char **out,
                       char *err, uint32_t err_cap) {
  const json_t *value = json_object_get(object, key);
  if (value == NULL && !needed) return DEAI_OK;
  const char *text = json_string_value(value);
  if (text == NULL || text[0] == 0 || strlen(text) > 256)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "manifest: expected a text of 1 to 256 bytes in \"%s\"", key);
  *out = text;
  return DEAI_OK;
}

static int32_t list_of(const json_t *object, const char *key, deai_manifest_list *out, char *err,
                       uint32_t err_cap) {
  const json_t *list = json_object_get(object, key);
  if (list == NULL) return DEAI_OK;
  if (!json_is_array(list) || json_array_size(list) > DEAI_MANIFEST_LIST_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "manifest: expected a list of at most %u texts in \"%s\"",
                    DEAI_MANIFEST_LIST_MAX, key);
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *text = json_string_value(json_array_get(list, i));
    if (text == NULL || text[0] == 0)
      return deai_err(err, err_cap, DEAI_EINVAL, "manifest: expected texts in \"%s\"", key);
    out->items[out->count++] = text;
  }
  return DEAI_OK;
}

static int32_t class_of(const char *name) {
  for (int32_t i = 0; name != NULL && i < 4; i++) {
    if (strcmp(name, class_names[i]) == 0) return i;
  }
  return -1;
}

static int32_t service_of(json_t *row, deai_manifest_service *out, char *err, uint32_t err_cap) {
  int32_t status = text_of(row, "service", true, &out->id, err, err_cap);
  json_t *methods = json_object_get(row, "methods");
  if (status != DEAI_OK) return status;
  if (!json_is_object(methods) || json_object_size(methods) == 0 ||
      json_object_size(methods) > DEAI_MANIFEST_METHODS)
    return deai_err(err, err_cap, DEAI_EINVAL, "manifest: expected 1 to %u methods in \"%s\"",
                    DEAI_MANIFEST_METHODS, out->id);
  const char *name = NULL;
  json_t *value = NULL;
  json_object_foreach(methods, name, value) {
    int32_t method_class = class_of(json_string_value(value));
    if (method_class < 0)
      return deai_err(err, err_cap, DEAI_EINVAL,
                      "manifest: expected local, member, guest or public for \"%s\" of \"%s\"",
                      name, out->id);
    out->methods[out->method_count++] = (deai_manifest_method){name, (uint32_t)method_class};
  }
  return DEAI_OK;
}

static int32_t offers_of(const json_t *object, deai_manifest *out, char *err, uint32_t err_cap) {
  json_t *list = json_object_get(object, "offers");
  if (list == NULL) return DEAI_OK;
  if (!json_is_array(list) || json_array_size(list) > DEAI_MANIFEST_LIST_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "manifest: expected at most %u services in \"offers\"", DEAI_MANIFEST_LIST_MAX);
  for (size_t i = 0; i < json_array_size(list); i++) {
    int32_t status =
        service_of(json_array_get(list, i), &out->offers[out->offer_count], err, err_cap);
    if (status != DEAI_OK) return status;
    out->offer_count++;
  }
  return DEAI_OK;
}

static int32_t keys_known(json_t *object, char *err, uint32_t err_cap) {
  static const char *const known[] = {"id",        "version", "about",   "offers",
                                      "needs",     "submits", "http",    "topics",
                                      "isolation", "devices", "settings"};
  const char *key = NULL;
  json_t *value = NULL;
  json_object_foreach(object, key, value) {
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
      found = found || strcmp(key, known[i]) == 0;
    if (!found)
      return deai_err(err, err_cap, DEAI_EINVAL, "manifest: expected no key \"%s\"; update deai",
                      key);
  }
  return DEAI_OK;
}

static int32_t parts_of(deai_manifest *out, char *err, uint32_t err_cap) {
  const char *isolation = "process";
  json_t *json = out->json;
  int32_t status = keys_known(json, err, err_cap);
  if (status == DEAI_OK) status = text_of(json, "id", true, &out->id, err, err_cap);
  if (status == DEAI_OK) status = text_of(json, "version", true, &out->version, err, err_cap);
  if (status == DEAI_OK) status = text_of(json, "about", false, &out->about, err, err_cap);
  if (status == DEAI_OK) status = text_of(json, "isolation", false, &isolation, err, err_cap);
  if (status == DEAI_OK) status = offers_of(json, out, err, err_cap);
  if (status == DEAI_OK) status = list_of(json, "needs", &out->needs, err, err_cap);
  if (status == DEAI_OK) status = list_of(json, "submits", &out->submits, err, err_cap);
  if (status == DEAI_OK) status = list_of(json, "http", &out->http, err, err_cap);
  if (status == DEAI_OK) status = list_of(json, "topics", &out->topics, err, err_cap);
  if (status == DEAI_OK) status = list_of(json, "devices", &out->devices, err, err_cap);
  if (status != DEAI_OK) return status;
  if (strlen(out->id) > DEAI_NAME_MAX || strlen(out->version) > DEAI_NAME_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "manifest: expected id and version of at most %u bytes", DEAI_NAME_MAX);
  out->inproc = strcmp(isolation, "inproc") == 0;
  if (!out->inproc && strcmp(isolation, "process") != 0)
    return deai_err(err, err_cap, DEAI_EINVAL,
                    "manifest: expected inproc or process in \"isolation\", found \"%s\"",
                    isolation);
  out->settings = json_object_get(json, "settings");
  if (out->settings != NULL && !json_is_object(out->settings))
    return deai_err(err, err_cap, DEAI_EINVAL, "manifest: expected a schema in \"settings\"");
  return DEAI_OK;
}

int32_t deai_manifest_parse(const char *text, uint64_t len, deai_manifest *out, char *err,
                            uint32_t err_cap) {
  json_error_t error;
  memset(out, 0, sizeof *out);
  if (len > DEAI_MANIFEST_BYTES_MAX) return DEAI_ETOOLARGE;
  out->json = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &error);
  if (!json_is_object(out->json))
    return deai_err(err, err_cap, DEAI_EINVAL, "manifest: expected a JSON object: line %d: %s",
                    error.line, error.text);
  return parts_of(out, err, err_cap);
}

void deai_manifest_free(deai_manifest *manifest) {
  json_decref(manifest->json);
  memset(manifest, 0, sizeof *manifest);
}

static bool text_is(const char *text, deai_str other) {
  return deai_str_eq(deai_str_of(text), other) != 0;
}

bool deai_manifest_needs(const deai_manifest *manifest, deai_str service) {
  for (uint32_t i = 0; i < manifest->needs.count; i++) {
    if (text_is(manifest->needs.items[i], service)) return true;
  }
  return false;
}

int32_t deai_manifest_class(const deai_manifest *manifest, deai_str service, deai_str method) {
  for (uint32_t i = 0; i < manifest->offer_count; i++) {
    const deai_manifest_service *offer = &manifest->offers[i];
    if (!text_is(offer->id, service)) continue;
    for (uint32_t m = 0; m < offer->method_count; m++) {
      if (text_is(offer->methods[m].name, method)) return (int32_t)offer->methods[m].method_class;
    }
  }
  return -1;
}

static bool may_submit_one(const deai_manifest *manifest, deai_bytes item, char *name,
                           uint32_t name_cap) {
  deai_op op;
  (void)snprintf(name, name_cap, "an operation that cannot be read");
  if (deai_decode(&deai_op_table, item, &op, NULL, NULL, 0) != DEAI_OK) return false;
  (void)snprintf(name, name_cap, "%.*s %.*s", (int)op.module.len, op.module.ptr, (int)op.type.len,
                 op.type.ptr);
  for (uint32_t i = 0; i < manifest->submits.count; i++) {
    if (strcmp(manifest->submits.items[i], name) == 0) return true;
  }
  return false;
}

int32_t deai_manifest_may_submit(const deai_manifest *manifest, deai_bytes ops, char *err,
                                 uint32_t err_cap) {
  deai_cbor_reader reader = deai_cbor_reader_of(ops);
  deai_cbor_item head;
  int32_t status = deai_cbor_next(&reader, &head);
  if (status != DEAI_OK || head.kind != DEAI_CBOR_ARRAY || head.number > DEAI_TX_OPS_MAX)
    return deai_err(err, err_cap, DEAI_EINVAL, "expected a list of at most %u operations",
                    DEAI_TX_OPS_MAX);
  for (uint64_t i = 0; i < head.number; i++) {
    char name[2 * DEAI_NAME_MAX + 2];
    deai_bytes item;
    status = deai_cbor_skip(&reader, &item);
    if (status != DEAI_OK)
      return deai_err(err, err_cap, status, "operation %u is malformed", (unsigned)i);
    if (!may_submit_one(manifest, item, name, sizeof name))
      return deai_err(
          err, err_cap, DEAI_EDENIED,
          "expected operations that the manifest submits, found %s; add it to \"submits\"", name);
  }
  if (reader.at != reader.len)
    return deai_err(err, err_cap, DEAI_EINVAL, "expected nothing behind the list of operations");
  return DEAI_OK;
}
