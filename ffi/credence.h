/* credence.h: the C interface of the Credence runtime, libcredence.so.
 *
 *   uint64_t rt, model;
 *   char message[512];
 *   credence_prediction answer;
 *   if (credence_open("auto", &rt, message, sizeof message) != CREDENCE_STATUS_OK) fail(message);
 *   if (credence_load(rt, "digits.safetensors", &model, message, sizeof message) != CREDENCE_STATUS_OK) fail(message);
 *   if (credence_predict(model, picture, 28 * 28, 1, &answer, sizeof answer, NULL, 0, message, sizeof message) !=
 *       CREDENCE_STATUS_OK)
 *     fail(message);
 *   if (answer.verdict != CREDENCE_VERDICT_TRUSTED) ask_a_person(answer.label);
 *   credence_close(rt, NULL, 0);
 *
 * Rules
 *   - Every function that can fail returns a credence_api_status and, where it is not OK, writes one line of text to
 *     the caller's message buffer, cut to its size and NUL-terminated. The buffer may be NULL with size 0. On success
 *     it is left alone.
 *   - A handle is a number. Zero, a closed handle, one closed twice and noise are CREDENCE_STATUS_BAD_HANDLE.
 *   - Every function may be called from any thread, at the same time too. credence_close waits for the calls that use
 *     what it closes.
 *   - The library keeps no pointer of the caller's beyond the call, and gives out none but constant text.
 *   - Pointers that are neither NULL nor valid, and memory exhausted to the last byte, can end the process, as in any
 *     C library; nothing else does.
 *   - The library contains the Go runtime, which does not survive fork() without exec(): start workers by spawning.
 *     It stays loaded until the process ends; dlclose does nothing.
 *   - Status numbers are permanent, functions are only added. CREDENCE_VERSION is the header's, credence_version() the
 *     library's.
 */
#ifndef CREDENCE_H
#define CREDENCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CREDENCE_VERSION "0.1.0"

typedef enum credence_api_status {
  CREDENCE_STATUS_OK = 0,
  CREDENCE_STATUS_INVALID_ARGUMENT = 1, /* a value that cannot be right; the message lists what can */
  CREDENCE_STATUS_UNSUPPORTED = 2,      /* could be right, but not on this device or in this build */
  CREDENCE_STATUS_OUT_OF_MEMORY = 3,
  CREDENCE_STATUS_CANCELLED = 4,
  CREDENCE_STATUS_DEVICE_LOST = 5, /* the runtime must be closed */
  CREDENCE_STATUS_NO_DEVICE = 6,   /* the message says why each device was refused and what is available */
  CREDENCE_STATUS_INTERNAL = 7,    /* a mistake in Credence; please report it with the message */
  CREDENCE_STATUS_BAD_HANDLE = 9,
  CREDENCE_STATUS_BUFFER_TOO_SMALL = 10,
  CREDENCE_STATUS_BUSY = 11,    /* what serves one call at a time serves one already */
  CREDENCE_STATUS_BAD_FILE = 12 /* it cannot be read, or is not what it should be */
} credence_api_status;

/* What to do with a prediction. */
typedef enum credence_verdict {
  CREDENCE_VERDICT_NONE = 0, /* the model is not calibrated */
  CREDENCE_VERDICT_TRUSTED = 1,
  CREDENCE_VERDICT_AMBIGUOUS = 2, /* two or more classes explain the input */
  CREDENCE_VERDICT_UNFAMILIAR = 3 /* unlike anything seen in training */
} credence_verdict;

/* The answer for one input. A score that the model cannot give is NaN. Later versions may add members at the end. */
typedef struct credence_prediction {
  int32_t label;      /* the class, from 0 */
  int32_t verdict;    /* a credence_verdict */
  double probability; /* of the label */
  double predictive_entropy;
  double aleatoric_entropy;
  double mutual_information;
  double distance;               /* from the nearest prototype of the label; here and below higher is stranger */
  double explanation_percentile; /* of the distance, among held-out inputs of the label: 0 to 1 */
  double mahalanobis;
  double chi_square;     /* the probability that a draw of the label's distribution exceeds it */
  double reconstruction; /* mean squared error per pixel */
  double combined;       /* the evidence of all scores together */
  double unfamiliarity;  /* its percentile; from 0.95 on the verdict is unfamiliar */
  double ambiguity;      /* percentile of the predictive entropy */
} credence_prediction;

/* The library's version, "major.minor.patch". The text is constant and lives as long as the process. */
const char *credence_version(void);

/* Opens a runtime on a device: "auto", "go", "cpu", "cuda", "cuda:N", "cuda:<start of a UUID>", or a comma list that is
 * tried in order. NULL: as the environment variable CREDENCE_DEVICE says, else "auto". The handle goes to *runtime,
 * which becomes 0 on failure. */
int32_t credence_open(const char *device, uint64_t *runtime, char *message, size_t message_size);

/* Writes what devices were looked for, which was chosen and why, and why the others were not, as one JSON object and
 * a NUL. *needed (unless needed is NULL) becomes the size in bytes, the NUL included. Where size is less, nothing is
 * written and the status is CREDENCE_STATUS_BUFFER_TOO_SMALL; asking with buffer NULL and size 0 is OK. */
int32_t credence_devices_json(uint64_t runtime, char *buffer, size_t size, size_t *needed, char *message,
                              size_t message_size);

/* Loads a model from a file that `credence train probpsenn` or a Go program wrote. The handle goes to *model, which
 * becomes 0 on failure. */
int32_t credence_load(uint64_t runtime, const char *path, uint64_t *model, char *message, size_t message_size);

/* Writes what the model takes and gives as one JSON object and a NUL: "kind", "input_values" (numbers of one input),
 * "classes", "calibrated", and the configuration of its training as "config". Buffer, size and needed are as in
 * credence_devices_json. */
int32_t credence_model_json(uint64_t model, char *buffer, size_t size, size_t *needed, char *message,
                            size_t message_size);

/* Classifies count inputs of input_values numbers each, one after the other: pictures as rows of pixels (channels
 * innermost) in [-1, 1] with black at -1, or feature vectors. The answers go to predictions, of which each has
 * prediction_size bytes: sizeof(credence_prediction). Probabilities of all classes, count times classes of them, go to
 * probabilities, which may be NULL with probability_values 0. On failure nothing is written. An input gets the same
 * bits alone, in any batch and from any thread, and those that a Go program gets. */
int32_t credence_predict(uint64_t model, const float *inputs, size_t input_values, size_t count,
                         credence_prediction *predictions, size_t prediction_size, double *probabilities,
                         size_t probability_values, char *message, size_t message_size);

/* Explains the prediction of one input: classes, distances, what each prototype adds to each class, decoded prototype
 * samples and nearest training examples, as one JSON object and a NUL. Pictures in it are PNG files in base64. Buffer,
 * size and needed are as in credence_devices_json; every call computes the explanation, so it is best called first with
 * a buffer of a MiB. */
int32_t credence_explain_json(uint64_t model, const float *input, size_t input_values, char *buffer, size_t size,
                              size_t *needed, char *message, size_t message_size);

/* Closes a model, or a runtime and everything opened on it. */
int32_t credence_close(uint64_t handle, char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif
