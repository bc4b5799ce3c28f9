/* Manifests: refused texts with their reasons, the note in an ELF file, who may submit what. */
#include "tests/testing.h"

#include "deai/cbor.h"
#include "host/call.h"
#include "host/plugin/manifest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define HEAD "{\"id\":\"a/b\",\"version\":\"1\""

typedef struct bad_text {
  const char *text;
  const char *why;
} bad_text;

static const bad_text bad_texts[] = {
    {"", "manifest: expected a JSON object: line 1:"},
    {"[]", "manifest: expected a JSON object"},
    {"{", "manifest: expected a JSON object: line 1:"},
    {"{\"id\":\"a\",\"id\":\"b\"}", "manifest: expected a JSON object: line 1: duplicate"},
    {"{\"version\":\"1\"}", "manifest: expected a text of 1 to 256 bytes in \"id\""},
    {"{\"id\":\"\",\"version\":\"1\"}", "manifest: expected a text of 1 to 256 bytes in \"id\""},
    {"{\"id\":7,\"version\":\"1\"}", "manifest: expected a text of 1 to 256 bytes in \"id\""},
    {"{\"id\":\"a/b\"}", "manifest: expected a text of 1 to 256 bytes in \"version\""},
    {HEAD ",\"x\":1}", "manifest: expected no key \"x\"; update deai"},
    {HEAD ",\"about\":[]}", "manifest: expected a text of 1 to 256 bytes in \"about\""},
    {HEAD ",\"isolation\":\"none\"}",
     "manifest: expected inproc or process in \"isolation\", found \"none\""},
    {HEAD ",\"settings\":[]}", "manifest: expected a schema in \"settings\""},
    {HEAD ",\"needs\":\"x\"}", "manifest: expected a list of at most 16 texts in \"needs\""},
    {HEAD ",\"needs\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
     "manifest: expected a list of at most 16 texts in \"needs\""},
    {HEAD ",\"http\":[1]}", "manifest: expected texts in \"http\""},
    {HEAD ",\"topics\":[\"\"]}", "manifest: expected texts in \"topics\""},
    {HEAD ",\"offers\":{}}", "manifest: expected at most 16 services in \"offers\""},
    {HEAD ",\"offers\":[7]}", "manifest: expected a text of 1 to 256 bytes in \"service\""},
    {HEAD ",\"offers\":[{\"service\":\"s\"}]}", "manifest: expected 1 to 32 methods in \"s\""},
    {HEAD ",\"offers\":[{\"service\":\"s\",\"methods\":{}}]}",
     "manifest: expected 1 to 32 methods in \"s\""},
    {HEAD ",\"offers\":[{\"service\":\"s\",\"methods\":{\"m\":\"root\"}}]}",
     "manifest: expected local, member, guest or public for \"m\" of \"s\""},
    {HEAD ",\"offers\":[{\"service\":\"s\",\"methods\":{\"m\":3}}]}",
     "manifest: expected local, member, guest or public for \"m\" of \"s\""},
};

START_TEST(refuses_a_text_with_its_reason) {
  char err[512] = "";
  deai_manifest manifest;
  const bad_text *bad = &bad_texts[_i];
  int32_t status =
      deai_manifest_parse(bad->text, strlen(bad->text), &manifest, err, (uint32_t)sizeof err);
  ck_assert_int_eq(status, DEAI_EINVAL);
  ck_assert_msg(strncmp(err, bad->why, strlen(bad->why)) == 0, "expected \"%s\", found \"%s\"",
                bad->why, err);
  deai_manifest_free(&manifest);
}
END_TEST

START_TEST(refuses_what_is_too_long) {
  char err[512] = "";
  char text[400];
  char name[DEAI_NAME_MAX + 2];
  deai_manifest manifest;
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = 0;
  (void)snprintf(text, sizeof text, "{\"id\":\"%s\",\"version\":\"1\"}", name);
  ck_assert_int_eq(deai_manifest_parse(text, strlen(text), &manifest, err, sizeof err),
                   DEAI_EINVAL);
  ck_assert_str_eq(err, "manifest: expected id and version of at most 64 bytes");
  deai_manifest_free(&manifest);
  ck_assert_int_eq(
      deai_manifest_parse(text, DEAI_MANIFEST_BYTES_MAX + 1, &manifest, err, sizeof err),
      DEAI_ETOOLARGE);
  deai_manifest_free(&manifest);
}
END_TEST

static const char whole[] =
    HEAD ",\"about\":\"x\",\"offers\":[{\"service\":\"s/1\",\"methods\":{\"a\":\"public\","
         "\"b\":\"guest\",\"c\":\"member\",\"d\":\"local\"}}],\"needs\":[\"n/1\"],"
         "\"submits\":[\"registry/1 put\"],\"http\":[\"/v1/\"],\"topics\":[\"ledger\"],"
         "\"devices\":[\"gpu\"],\"isolation\":\"inproc\",\"settings\":{\"type\":\"object\"}}";

static void parse_whole(deai_manifest *manifest) {
  char err[512] = "";
  ck_assert_msg(deai_manifest_parse(whole, sizeof whole - 1, manifest, err, sizeof err) == DEAI_OK,
                "%s", err);
}

START_TEST(reads_all_parts) {
  deai_manifest manifest;
  parse_whole(&manifest);
  ck_assert_str_eq(manifest.id, "a/b");
  ck_assert_str_eq(manifest.version, "1");
  ck_assert(manifest.inproc);
  ck_assert_ptr_nonnull(manifest.settings);
  ck_assert_uint_eq(manifest.http.count, 1);
  deai_str service = deai_str_of("s/1");
  ck_assert_int_eq(deai_manifest_class(&manifest, service, deai_str_of("a")), DEAI_CLASS_PUBLIC);
  ck_assert_int_eq(deai_manifest_class(&manifest, service, deai_str_of("b")), DEAI_CLASS_GUEST);
  ck_assert_int_eq(deai_manifest_class(&manifest, service, deai_str_of("c")), DEAI_CLASS_MEMBER);
  ck_assert_int_eq(deai_manifest_class(&manifest, service, deai_str_of("d")), DEAI_CLASS_LOCAL);
  ck_assert_int_eq(deai_manifest_class(&manifest, service, deai_str_of("e")), -1);
  ck_assert_int_eq(deai_manifest_class(&manifest, deai_str_of("s"), deai_str_of("a")), -1);
  ck_assert(deai_manifest_needs(&manifest, deai_str_of("n/1")));
  ck_assert(!deai_manifest_needs(&manifest, deai_str_of("n/")));
  deai_manifest_free(&manifest);
  deai_manifest_free(&manifest); /* a zeroed one is allowed */
}
END_TEST

static deai_bytes ops_of(uint8_t *room, uint64_t cap, uint64_t count, const char *type) {
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, cap});
  deai_cbor_put_array(&writer, count);
  for (uint64_t i = 0; i < count; i++) {
    deai_cbor_put_array(&writer, 3);
    deai_cbor_put_text(&writer, deai_str_of("registry/1"));
    deai_cbor_put_text(&writer, deai_str_of(type));
    deai_cbor_put_map(&writer, 0);
  }
  return deai_bytes_of(room, writer.len);
}

START_TEST(submits_only_what_it_names) {
  static uint8_t room[8192];
  char err[512] = "";
  deai_manifest manifest;
  parse_whole(&manifest);
  deai_bytes ops = ops_of(room, sizeof room, 2, "put");
  ck_assert_int_eq(deai_manifest_may_submit(&manifest, ops, err, sizeof err), DEAI_OK);
  ops.len++; /* a byte behind the list */
  ck_assert_int_eq(deai_manifest_may_submit(&manifest, ops, err, sizeof err), DEAI_EINVAL);
  ops.len -= 3;
  ck_assert_int_eq(deai_manifest_may_submit(&manifest, ops, err, sizeof err), DEAI_EINVAL);
  ops = ops_of(room, sizeof room, 1, "rm");
  ck_assert_int_eq(deai_manifest_may_submit(&manifest, ops, err, sizeof err), DEAI_EDENIED);
  ck_assert_str_eq(err, "expected operations that the manifest submits, found registry/1 rm; add "
                        "it to \"submits\"");
  ops = ops_of(room, sizeof room, 257, "put");
  ck_assert_int_eq(deai_manifest_may_submit(&manifest, ops, err, sizeof err), DEAI_EINVAL);
  ck_assert_int_eq(deai_manifest_may_submit(&manifest, deai_bytes_of("\xa0", 1), err, sizeof err),
                   DEAI_EINVAL);
  ck_assert_int_eq(
      deai_manifest_may_submit(&manifest, deai_bytes_of("\x81\x01", 2), err, sizeof err),
      DEAI_EDENIED);
  deai_manifest_free(&manifest);
}
END_TEST

static int32_t note_of(const char *path, char **text, uint64_t *len, char *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_msg(fd >= 0, "%s", path);
  int32_t status = deai_manifest_note(fd, text, len, err, 512);
  (void)close(fd);
  return status;
}

/* bytes_write writes a file of the private folder with the first len bytes of the echo plug-in,
   every byte at flip changed. */
static const char *piece_of_echo(uint64_t len, uint64_t flip) {
  static char path[4200];
  static uint8_t bytes[1 << 20];
  FILE *from = fopen(getenv("DEAI_ECHO_PLUGIN"), "rb");
  ck_assert_ptr_nonnull(from);
  size_t got = fread(bytes, 1, sizeof bytes, from);
  (void)fclose(from);
  if (flip < got) bytes[flip] ^= 0xff;
  (void)snprintf(path, sizeof path, "%s/piece.so", testing_folder());
  FILE *to = fopen(path, "wb");
  ck_assert_ptr_nonnull(to);
  size_t put = len < got ? (size_t)len : got;
  ck_assert_uint_eq(fwrite(bytes, 1, put, to), put);
  (void)fclose(to);
  return path;
}

START_TEST(no_note_in_other_files) {
  char err[512] = "";
  char *text = NULL;
  uint64_t len = 0;
  ck_assert_int_eq(note_of("/etc/passwd", &text, &len, err), DEAI_EINVAL);
  ck_assert_str_eq(err, "expected a shared object (ELF), found another kind of file; name the .so");
  ck_assert_int_eq(note_of(getenv("DEAI_PLUGHOST"), &text, &len, err), DEAI_EINVAL);
  ck_assert_str_eq(err, "expected a deai manifest note, found none; build the plug-in with "
                        "DEAI_MANIFEST_FILE");
  ck_assert_ptr_null(text);
}
END_TEST

START_TEST(damaged_files_are_refused_or_read) {
  static const uint64_t lengths[] = {0, 4, 16, 63, 64, 200, 1000, 5000, 12000};
  char err[512] = "";
  for (size_t i = 0; i < 9 + 64; i++) {
    char *text = NULL;
    uint64_t len = 0;
    const char *path =
        i < 9 ? piece_of_echo(lengths[i], UINT64_MAX) : piece_of_echo(UINT64_MAX, i - 9);
    int32_t status = note_of(path, &text, &len, err);
    ck_assert_int_eq(status == DEAI_OK, text != NULL);
    free(text);
  }
}
END_TEST

START_TEST(the_note_is_the_manifest) {
  char err[512] = "";
  char *text = NULL;
  uint64_t len = 0;
  deai_manifest manifest;
  ck_assert_int_eq(note_of(getenv("DEAI_ECHO_PLUGIN"), &text, &len, err), DEAI_OK);
  ck_assert_int_eq(deai_manifest_parse(text, len, &manifest, err, sizeof err), DEAI_OK);
  ck_assert_str_eq(manifest.id, "example/echo");
  deai_manifest_free(&manifest);
  free(text);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("manifest");
  TCase *tests = tcase_create("manifest");
  tcase_add_loop_test(tests, refuses_a_text_with_its_reason, 0,
                      (int)(sizeof bad_texts / sizeof bad_texts[0]));
  tcase_add_test(tests, refuses_what_is_too_long);
  tcase_add_test(tests, reads_all_parts);
  tcase_add_test(tests, submits_only_what_it_names);
  tcase_add_test(tests, no_note_in_other_files);
  tcase_add_test(tests, damaged_files_are_refused_or_read);
  tcase_add_test(tests, the_note_is_the_manifest);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
