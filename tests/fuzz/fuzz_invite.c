/* Fuzz target of joining a network: the first byte chooses an invite code (text), the arguments of
   `join`, or a node record. What is taken has exactly one form. */
#include "host/net/invite.h"
#include "host/net/record.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t genesis[DEAI_HASH_BYTES];

static void must(bool condition) {
  if (!condition) abort();
}

static void code(deai_str text) {
  static deai_invite_box box;
  static char again[DEAI_INVITE_CODE_MAX + 1];
  char err[160] = "";
  if (deai_invite_get(text, &box, err, sizeof err) != DEAI_OK) {
    must(err[0] != 0);
    return;
  }
  const deai_str *addresses = box.invite.a.items;
  must(box.invite.a.count >= 1 && box.invite.a.count <= DEAI_NET_ADDRS_MAX);
  for (uint64_t i = 0; i < box.invite.a.count; i++)
    must(addresses[i].len >= 1 && addresses[i].len <= DEAI_NET_ADDR_MAX);
  must(deai_invite_put(&box.invite, again, sizeof again) == DEAI_OK);
  must(deai_str_eq(text, deai_str_of(again)));
}

static void join(deai_bytes input) {
  static _Alignas(16) uint8_t room[32768];
  deai_arena arena = {room, sizeof room, 0};
  deai_net_join asked;
  char err[160] = "";
  if (deai_decode(&deai_net_join_table, input, &asked, &arena, err, sizeof err) != DEAI_OK) {
    must(err[0] != 0);
    return;
  }
  must(asked.keys.count >= 1 && asked.keys.count <= 4);
  must(asked.name.len >= 1 && asked.name.len <= DEAI_NAME_MAX);
}

static void record(deai_bytes input) {
  static _Alignas(16) uint8_t room[8192];
  static uint8_t again[DEAI_RECORD_MAX];
  deai_arena arena = {room, sizeof room, 0};
  deai_node_record read;
  deai_signed parts;
  if (deai_record_read(input, NULL, genesis, &read, &arena) != DEAI_OK) return;
  must(deai_decode(&deai_signed_table, input, &parts, NULL, NULL, 0) == DEAI_OK);
  must(memcmp(parts.key, read.k, DEAI_KEY_BYTES) == 0);
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){again, sizeof again});
  must(deai_encode(&deai_node_record_table, &read, &writer, NULL, 0) == DEAI_OK);
  must(deai_bytes_eq(parts.body, deai_bytes_of(again, writer.len)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  deai_bytes input = deai_bytes_of(data + 1, size - 1);
  if (data[0] % 3 == 0) code((deai_str){.ptr = (const char *)input.ptr, .len = input.len});
  if (data[0] % 3 == 1) join(input);
  if (data[0] % 3 == 2) record(input);
  return 0;
}
