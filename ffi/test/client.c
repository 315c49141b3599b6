/* client.c: a C program that uses libcredence.so as a stranger would, right and wrong.
 *
 *   client DEVICE    opens DEVICE, which must be there
 */
#include <credence.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      fprintf(stderr, "client.c:%d: %s; message: %s\n", __LINE__, #condition, message); \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

static char message[512];

static void test_version(void) {
  CHECK(strcmp(credence_version(), CREDENCE_VERSION) == 0);
  CHECK(credence_version() == credence_version());
}

static void test_devices(const char *device) {
  uint64_t rt = 0;
  strcpy(message, "untouched");
  CHECK(credence_open(device, &rt, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(rt != 0 && strcmp(message, "untouched") == 0);

  size_t needed = 0;
  CHECK(credence_devices_json(rt, NULL, 0, &needed, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(needed > 2);
  char *json = malloc(needed + 1);
  CHECK(json != NULL);
  memset(json, '#', needed + 1);
  size_t again = 0;
  CHECK(credence_devices_json(rt, json, needed - 1, &again, message, sizeof message) ==
        CREDENCE_STATUS_BUFFER_TOO_SMALL);
  CHECK(again == needed && json[0] == '#');
  CHECK(credence_devices_json(rt, json, needed, NULL, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(strlen(json) == needed - 1 && json[needed] == '#');
  CHECK(json[0] == '{' && json[needed - 2] == '}' && strstr(json, "\"chosen\"") != NULL);
  CHECK(credence_devices_json(rt, NULL, 0, NULL, message, sizeof message) == CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_devices_json(rt, NULL, 9, &again, message, sizeof message) == CREDENCE_STATUS_INVALID_ARGUMENT);
  printf("%s\n", json);
  free(json);

  CHECK(credence_close(rt, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(credence_close(rt, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
  CHECK(strstr(message, "closed already") != NULL);
  CHECK(credence_devices_json(rt, NULL, 0, &needed, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
}

static void test_mistakes(void) {
  uint64_t rt = 12345;
  CHECK(credence_open("go", NULL, message, sizeof message) == CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_open("bogus", &rt, message, sizeof message) == CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(rt == 0);
  CHECK(strstr(message, "bogus") != NULL && strstr(message, "cuda") != NULL); /* it lists what is legal */

  /* A message is cut to the buffer, at every size. */
  char whole[sizeof message];
  strcpy(whole, message);
  for (size_t size = 1; size < 40; size++) {
    memset(message, '#', sizeof message);
    CHECK(credence_open("bogus", &rt, message, size) == CREDENCE_STATUS_INVALID_ARGUMENT);
    CHECK(strlen(message) <= size - 1 && strncmp(message, whole, strlen(message)) == 0 && message[size] == '#');
  }
  CHECK(credence_open("bogus", &rt, NULL, 0) == CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_open("bogus", &rt, message, 0) == CREDENCE_STATUS_INVALID_ARGUMENT);

  const uint64_t noise[] = {0, 1, 99, 1ull << 32, (1ull << 32) + 77, 0xdeadbeefdeadbeefull, ~0ull};
  for (size_t i = 0; i < sizeof noise / sizeof *noise; i++) {
    size_t needed = 0;
    CHECK(credence_close(noise[i], message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
    CHECK(credence_devices_json(noise[i], NULL, 0, &needed, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
  }
}

/* Several threads ask one runtime while one of them closes it: each call works or says that the handle is closed. */
static uint64_t shared;

static void *ask(void *closes) {
  char json[65536];
  for (int i = 0; i < 200; i++) {
    int32_t status = credence_devices_json(shared, json, sizeof json, NULL, NULL, 0);
    if (status != CREDENCE_STATUS_OK && status != CREDENCE_STATUS_BAD_HANDLE) return "unexpected status";
    if (closes && i == 100 && credence_close(shared, NULL, 0) != CREDENCE_STATUS_OK) return "close failed";
  }
  return NULL;
}

static void test_threads(const char *device) {
  for (int round = 0; round < 5; round++) {
    CHECK(credence_open(device, &shared, message, sizeof message) == CREDENCE_STATUS_OK);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, ask, i == 2 ? &shared : NULL) == 0);
    for (int i = 0; i < 4; i++) {
      void *mistake;
      CHECK(pthread_join(threads[i], &mistake) == 0);
      CHECK(mistake == NULL);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DEVICE\n", argv[0]);
    return 2;
  }
  test_version();
  test_devices(argv[1]);
  test_mistakes();
  test_threads(argv[1]);
  return 0;
}
