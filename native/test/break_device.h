/* break_device.h: makes the first CUDA device unusable for the rest of this process. */
#ifndef CREDENCE_TEST_BREAK_DEVICE_H
#define CREDENCE_TEST_BREAK_DEVICE_H

#ifdef __cplusplus
extern "C" {
#endif

int break_device(void); /* 0: it is broken, by an illegal address */

#ifdef __cplusplus
}
#endif
#endif
