/* client.c: a C program that uses libcredence.so as a stranger would, right and wrong.
 *
 *   client DEVICE EXPECTED    opens DEVICE, which must be there; EXPECTED is what ffi/test/expect wrote
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <credence.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      fprintf(stderr, "client.c:%d: %s; message: %s\n", __LINE__, #condition, message); \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

static char message[512];

static const char *device, *expected;

static void test_version(void) {
  CHECK(strcmp(credence_version(), CREDENCE_VERSION) == 0);
  CHECK(credence_version() == credence_version());
}

static void test_devices(void) {
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

/* slurp reads EXPECTED/NAME or EXPECTED/DEVICE.NAME, with a NUL behind it. */
static char *slurp(int of_device, const char *name, size_t *size) {
  char path[4096];
  snprintf(path, sizeof path, of_device ? "%s/%s.%s" : "%s/%.0s%s", expected, device, name);
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  char *text = malloc(1 << 20);
  CHECK(text != NULL);
  *size = fread(text, 1, (1 << 20) - 1, file);
  CHECK(feof(file) && !ferror(file));
  fclose(file);
  text[*size] = 0;
  return text;
}

/* What the tests of a model need; filled by load_model. */
static struct {
  uint64_t runtime, handle;
  float *inputs;
  size_t count;          /* of inputs */
  double *predictions;   /* expected: label, verdict and the other members, as doubles */
  double *probabilities; /* expected */
  char *explanation;     /* expected, of the first input */
} model;

enum { VALUES = 12 * 12, CLASSES = 3, MEMBERS = (sizeof(credence_prediction) - 8) / 8 + 2 };

static void load_model(void) {
  char path[4096];
  size_t size, predictions, probabilities;
  model.inputs = (float *)slurp(0, "inputs", &size);
  model.count = size / (VALUES * sizeof(float));
  model.predictions = (double *)slurp(1, "predictions", &predictions);
  model.probabilities = (double *)slurp(1, "probabilities", &probabilities);
  model.explanation = slurp(1, "json", &size);
  CHECK(model.count > 1 && predictions == model.count * MEMBERS * sizeof(double));
  CHECK(probabilities == model.count * CLASSES * sizeof(double));
  snprintf(path, sizeof path, "%s/model.safetensors", expected);
  CHECK(credence_open(device, &model.runtime, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(credence_load(model.runtime, path, &model.handle, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(model.handle != 0 && model.handle != model.runtime);
}

/* differs reports whether a prediction is not, to the bit, the one expected. */
static int differs(const credence_prediction *got, const double *want) {
  return got->label != (int32_t)want[0] || got->verdict != (int32_t)want[1] ||
         memcmp(&got->probability, want + 2, (MEMBERS - 2) * sizeof(double)) != 0;
}

static void test_predict(void) {
  credence_prediction got[16];
  double probabilities[16 * CLASSES];
  CHECK(model.count <= 16);
  memset(got, 0xff, sizeof got);
  CHECK(credence_predict(model.handle, model.inputs, VALUES, model.count, got, sizeof *got, probabilities,
                         model.count * CLASSES, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(memcmp(probabilities, model.probabilities, model.count * CLASSES * sizeof(double)) == 0);
  for (size_t i = 0; i < model.count; i++) CHECK(!differs(&got[i], model.predictions + i * MEMBERS));
  CHECK(got[model.count].label == -1); /* nothing behind the last */

  /* One by one the same; and as a program built with a later header would ask, whose prediction has more members. */
  struct {
    credence_prediction known;
    double later;
  } wide[2] = {{.later = 7}, {.later = 8}};
  for (size_t i = 0; i + 1 < model.count; i++) {
    CHECK(credence_predict(model.handle, model.inputs + i * VALUES, VALUES, 1, got, sizeof *got, NULL, 0, message,
                           sizeof message) == CREDENCE_STATUS_OK);
    CHECK(!differs(got, model.predictions + i * MEMBERS));
    CHECK(credence_predict(model.handle, model.inputs + i * VALUES, VALUES, 2, &wide[0].known, sizeof *wide, NULL, 0,
                           message, sizeof message) == CREDENCE_STATUS_OK);
    for (size_t j = 0; j < 2; j++) CHECK(!differs(&wide[j].known, model.predictions + (i + j) * MEMBERS));
    CHECK(wide[0].later == 7 && wide[1].later == 8);
  }
  CHECK(credence_predict(model.handle, NULL, VALUES, 0, NULL, sizeof *got, NULL, 0, message, sizeof message) ==
        CREDENCE_STATUS_OK);
}

static void test_explain(void) {
  size_t needed = 0, again = 0;
  CHECK(credence_explain_json(model.handle, model.inputs, VALUES, NULL, 0, &needed, message, sizeof message) ==
        CREDENCE_STATUS_OK);
  CHECK(needed == strlen(model.explanation) + 1);
  char *json = malloc(needed + 1);
  CHECK(json != NULL);
  memset(json, '#', needed + 1);
  CHECK(credence_explain_json(model.handle, model.inputs, VALUES, json, needed - 1, &again, message, sizeof message) ==
        CREDENCE_STATUS_BUFFER_TOO_SMALL);
  CHECK(again == needed && json[0] == '#');
  CHECK(credence_explain_json(model.handle, model.inputs, VALUES, json, needed, NULL, message, sizeof message) ==
        CREDENCE_STATUS_OK);
  CHECK(strcmp(json, model.explanation) == 0 && json[needed] == '#');
  free(json);

  char info[4096];
  CHECK(credence_model_json(model.handle, info, sizeof info, &needed, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(needed == strlen(info) + 1 && strstr(info, "\"kind\":\"prob-psenn\"") != NULL);
  CHECK(strstr(info, "\"input_values\":144") != NULL && strstr(info, "\"classes\":3") != NULL);
}

/* Every way of calling wrongly that can be told from calling rightly is an error, and writes nothing. */
static void test_model_mistakes(void) {
  uint64_t none = 12345;
  char path[4096];
  CHECK(credence_load(model.runtime, NULL, &none, message, sizeof message) == CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_load(model.runtime, "x", NULL, message, sizeof message) == CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_load(model.runtime, "no such file", &none, message, sizeof message) == CREDENCE_STATUS_BAD_FILE);
  CHECK(none == 0 && strstr(message, "no such file") != NULL);
  snprintf(path, sizeof path, "%s/inputs", expected); /* a file of another kind */
  CHECK(credence_load(model.runtime, path, &none, message, sizeof message) == CREDENCE_STATUS_BAD_FILE);
  CHECK(credence_load(model.handle, path, &none, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
  CHECK(strstr(message, "is a model, a runtime is needed") != NULL);

  credence_prediction got = {.label = -7};
  double probabilities[CLASSES] = {-7};
  const size_t size = sizeof got;
  const struct {
    uint64_t handle;
    const float *inputs;
    size_t values, count;
    credence_prediction *predictions;
    size_t prediction_size;
    double *probabilities;
    size_t room;
    int32_t status;
  } wrong[] = {
      {0, model.inputs, VALUES, 1, &got, size, NULL, 0, CREDENCE_STATUS_BAD_HANDLE},
      {~0ull, model.inputs, VALUES, 1, &got, size, NULL, 0, CREDENCE_STATUS_BAD_HANDLE},
      {model.runtime, model.inputs, VALUES, 1, &got, size, NULL, 0, CREDENCE_STATUS_BAD_HANDLE},
      {model.handle + (1ull << 32), model.inputs, VALUES, 1, &got, size, NULL, 0, CREDENCE_STATUS_BAD_HANDLE},
      {model.handle, NULL, VALUES, 1, &got, size, NULL, 0, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES - 1, 1, &got, size, NULL, 0, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES, ~(size_t)0, &got, size, NULL, 0, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES, 1, NULL, size, NULL, 0, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES, 1, &got, 0, NULL, 0, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES, 1, &got, size - 8, NULL, 0, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES, 1, &got, ~(size_t)0, NULL, 0, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES, 1, &got, size, NULL, CLASSES, CREDENCE_STATUS_INVALID_ARGUMENT},
      {model.handle, model.inputs, VALUES, 1, &got, size, probabilities, 2, CREDENCE_STATUS_INVALID_ARGUMENT},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    message[0] = 0;
    int32_t status =
        credence_predict(wrong[i].handle, wrong[i].inputs, wrong[i].values, wrong[i].count, wrong[i].predictions,
                         wrong[i].prediction_size, wrong[i].probabilities, wrong[i].room, message, sizeof message);
    if (status != wrong[i].status || message[0] == 0) {
      fprintf(stderr, "wrong call %zu: status %d, message %s\n", i, (int)status, message);
      exit(1);
    }
  }
  float nan_input[2 * VALUES] = {0};
  nan_input[VALUES + 5] = NAN;
  credence_prediction two[2] = {{.label = -7}, {.label = -7}};
  CHECK(credence_predict(model.handle, nan_input, VALUES, 2, two, size, NULL, 0, message, sizeof message) ==
        CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(strstr(message, "value 5 of input 1 is NaN") != NULL && two[0].label == -7 && two[1].label == -7);
  CHECK(got.label == -7 && probabilities[0] == -7);

  size_t needed;
  CHECK(credence_explain_json(model.handle, nan_input, VALUES, NULL, 0, NULL, message, sizeof message) ==
        CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_explain_json(model.handle, NULL, VALUES, NULL, 0, &needed, message, sizeof message) ==
        CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_explain_json(model.handle, model.inputs, 3, NULL, 0, &needed, message, sizeof message) ==
        CREDENCE_STATUS_INVALID_ARGUMENT);
  CHECK(credence_explain_json(model.runtime, model.inputs, VALUES, NULL, 0, &needed, message, sizeof message) ==
        CREDENCE_STATUS_BAD_HANDLE);
  CHECK(credence_model_json(0, NULL, 0, &needed, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
  CHECK(credence_devices_json(model.handle, NULL, 0, &needed, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
}

/* Many threads predict with one model, each its own input, and get the expected bits or, once the runtime is closed
 * under them, an error. */
static void *predict_often(void *which) {
  const size_t i = (size_t)which;
  for (int n = 0; n < 100000; n++) {
    credence_prediction got;
    int32_t status =
        credence_predict(model.handle, model.inputs + i * VALUES, VALUES, 1, &got, sizeof got, NULL, 0, NULL, 0);
    if (status == CREDENCE_STATUS_BAD_HANDLE) return NULL;
    if (status != CREDENCE_STATUS_OK) return "unexpected status";
    if (differs(&got, model.predictions + i * MEMBERS)) return "other bits than Go's";
  }
  return "never closed";
}

static void test_model_threads(void) {
  pthread_t threads[16];
  CHECK(model.count <= 16);
  for (size_t i = 0; i < model.count; i++) CHECK(pthread_create(&threads[i], NULL, predict_often, (void *)i) == 0);
  nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
  CHECK(credence_close(model.runtime, message, sizeof message) == CREDENCE_STATUS_OK);
  for (size_t i = 0; i < model.count; i++) {
    void *mistake;
    CHECK(pthread_join(threads[i], &mistake) == 0);
    if (mistake != NULL) fprintf(stderr, "%s\n", (const char *)mistake);
    CHECK(mistake == NULL);
  }
  /* The runtime took the model with it. */
  CHECK(credence_close(model.handle, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
  CHECK(credence_close(model.runtime, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
}

/* A model can be closed by itself, once; its runtime goes on. */
static void test_model_close(void) {
  const uint64_t first = model.handle;
  CHECK(credence_close(first, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(credence_close(first, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
  credence_prediction got;
  CHECK(credence_predict(first, model.inputs, VALUES, 1, &got, sizeof got, NULL, 0, message, sizeof message) ==
        CREDENCE_STATUS_BAD_HANDLE);
  CHECK(strstr(message, "closed already") != NULL);
  char path[4096];
  snprintf(path, sizeof path, "%s/model.safetensors", expected);
  CHECK(credence_load(model.runtime, path, &model.handle, message, sizeof message) == CREDENCE_STATUS_OK);
  CHECK(model.handle != first);
  CHECK(credence_close(first, message, sizeof message) == CREDENCE_STATUS_BAD_HANDLE);
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

static void test_threads(void) {
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
  if (argc != 3) {
    fprintf(stderr, "usage: %s DEVICE EXPECTED\n", argv[0]);
    return 2;
  }
  device = argv[1];
  expected = argv[2];
  test_version();
  test_devices();
  test_mistakes();
  test_threads();
  load_model();
  test_predict();
  test_explain();
  test_model_mistakes();
  test_model_close();
  test_model_threads();
  return 0;
}
