/* credence.h: the C interface of the Credence runtime, libcredence.so.
 *
 *   uint64_t rt;
 *   char message[512];
 *   if (credence_open("auto", &rt, message, sizeof message) != CREDENCE_STATUS_OK) fail(message);
 *   ...
 *   credence_close(rt, NULL, 0);
 *
 * Rules
 *   - Every function that can fail returns a credence_api_status and, where it is not OK, writes one line of text to
 *     the caller's message buffer, cut to its size and NUL-terminated. The buffer may be NULL with size 0. On success
 *     it is left alone.
 *   - A handle is a number. Zero, a closed handle, one closed twice and noise are CREDENCE_STATUS_BAD_HANDLE.
 *   - Every function may be called from any thread, at the same time too. credence_close waits for the calls that use
 *     the handle.
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
  CREDENCE_STATUS_BUSY = 11 /* what serves one call at a time serves one already */
} credence_api_status;

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

/* Closes a runtime and everything opened on it. */
int32_t credence_close(uint64_t runtime, char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif
