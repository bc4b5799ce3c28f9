#include "plugins/compute/vulkan/device.h"

#include "tests/testing.h"
#include "twin.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

static int32_t try_open(const char *name, uint32_t push_bytes, lm_error *error) {
  lm_vk_device device;
  int32_t status = lm_vk_open(name, push_bytes, &device, error);
  lm_vk_close(&device);
  return status;
}

START_TEST(what_is_not_there_is_named) {
  static const char *const names[] = {"no such card", "99", "0123456789"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    lm_error error = {{0}};
    ck_assert_int_eq(try_open(names[i], 4, &error), DEAI_EUNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.text, "expected, found"));
  }
}
END_TEST

START_TEST(no_driver_is_told_as_such) {
  lm_error error = {{0}};
  ck_assert_int_eq(setenv("VK_ICD_FILENAMES", "/nonexistent.json", 1), 0);
  ck_assert_int_eq(setenv("VK_DRIVER_FILES", "/nonexistent.json", 1), 0);
  ck_assert_int_eq(try_open(NULL, 4, &error), DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(error.text, "install"));
}
END_TEST

START_TEST(what_a_device_lacks_is_named) {
  lm_error error = {{0}};
  if (!twin_has_device()) return;
  ck_assert_int_eq(try_open("", 1u << 20, &error), DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(error.text, "push constants"));
}
END_TEST

START_TEST(results_become_statuses) {
  ck_assert_int_eq(lm_vk_status(VK_SUCCESS), DEAI_OK);
  ck_assert_int_eq(lm_vk_status(VK_ERROR_DEVICE_LOST), DEAI_EIO);
  ck_assert_int_eq(lm_vk_status(VK_TIMEOUT), DEAI_EIO);
  ck_assert_int_eq(lm_vk_status(VK_ERROR_OUT_OF_DEVICE_MEMORY), DEAI_ENOMEM);
  ck_assert_int_eq(lm_vk_status(VK_ERROR_OUT_OF_HOST_MEMORY), DEAI_ENOMEM);
  ck_assert_int_eq(lm_vk_status(VK_ERROR_FEATURE_NOT_PRESENT), DEAI_EUNSUPPORTED);
}
END_TEST

START_TEST(an_index_and_a_part_of_the_name_find_it) {
  lm_vk_device device;
  lm_error error = {{0}};
  char part[5] = "";
  if (!twin_has_device()) return;
  ck_assert_int_eq(lm_vk_open("0", 64, &device, &error), DEAI_OK);
  for (size_t i = 0; i < 4; i++) { /* in the other case */
    char c = device.properties.deviceName[i + 1];
    part[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
  }
  lm_vk_close(&device);
  ck_assert_int_eq(try_open(part, 64, &error), DEAI_OK);
}
END_TEST

START_TEST(more_than_there_is_has_its_status) {
  lm_vk_device device;
  lm_vk_buffer buffer;
  lm_error error = {{0}};
  VkBufferView view;
  if (!twin_has_device()) return;
  ck_assert_int_eq(lm_vk_open(NULL, 64, &device, &error), DEAI_OK);
  ck_assert_int_eq(lm_vk_buffer_open(&device, UINT64_C(1) << 46, LM_VK_LOCAL, &buffer),
                   DEAI_ENOMEM);
  ck_assert_int_eq(lm_vk_buffer_open(&device, 1024, LM_VK_LOCAL, &buffer), DEAI_OK);
  uint64_t most = ((uint64_t)device.properties.limits.maxTexelBufferElements + 1) * LM_VK_TEXEL;
  ck_assert_int_eq(lm_vk_view_open(&device, &buffer, 0, most, true, &view), DEAI_EUNSUPPORTED);
  ck_assert(view == VK_NULL_HANDLE);
  lm_vk_buffer_close(&device, &buffer);
  lm_vk_buffer_close(&device, &buffer);
  lm_vk_close(&device);
}
END_TEST

START_TEST(uploads_larger_than_the_staging_arrive_whole) {
  lm_vk_device device;
  lm_vk_buffer local;
  lm_vk_buffer shared;
  lm_error error = {{0}};
  size_t count = LM_VK_STAGING + 4096;
  if (!twin_has_device()) return;
  ck_assert_int_eq(lm_vk_open(NULL, 64, &device, &error), DEAI_OK);
  uint8_t *bytes = malloc(count);
  ck_assert_ptr_nonnull(bytes);
  for (size_t i = 0; i < count; i++)
    bytes[i] = (uint8_t)(i * 31 + (i >> 13));
  ck_assert_int_eq(lm_vk_buffer_open(&device, count + 64, LM_VK_LOCAL, &local), DEAI_OK);
  ck_assert_int_eq(lm_vk_buffer_open(&device, count, LM_VK_SHARED, &shared), DEAI_OK);
  ck_assert_int_eq(lm_vk_upload(&device, &local, 64, bytes, count), DEAI_OK);
  ck_assert_int_eq(lm_vk_begin(&device), DEAI_OK);
  const VkBufferCopy copy = {.srcOffset = 64, .size = count};
  vkCmdCopyBuffer(device.commands, local.buffer, shared.buffer, 1, &copy);
  ck_assert_int_eq(lm_vk_finish(&device), DEAI_OK);
  ck_assert_int_eq(memcmp(shared.mapped, bytes, count), 0);
  free(bytes);
  lm_vk_buffer_close(&device, &local);
  lm_vk_buffer_close(&device, &shared);
  lm_vk_close(&device);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("vulkan device");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, what_is_not_there_is_named);
  tcase_add_test(tests, no_driver_is_told_as_such);
  tcase_add_test(tests, what_a_device_lacks_is_named);
  tcase_add_test(tests, results_become_statuses);
  tcase_add_test(tests, an_index_and_a_part_of_the_name_find_it);
  tcase_add_test(tests, more_than_there_is_has_its_status);
  tcase_add_test(tests, uploads_larger_than_the_staging_arrive_whole);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
