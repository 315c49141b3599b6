/* The CUDA backend's table of functions, behind the one exported symbol. */
#include "table.h"

#ifdef CREDENCE_CUDA_KERNELS
#define BUILD "credence " CREDENCE_VERSION ", " CREDENCE_COMPILER ", nvcc " CREDENCE_NVCC
#else
#define BUILD "credence " CREDENCE_VERSION ", " CREDENCE_COMPILER ", without nvcc: no kernels"
#endif

static const credence_backend backend = {
    .struct_size = sizeof(credence_backend),
    .abi = CREDENCE_ABI,
    .name = "cuda",
    .build = BUILD,
    .device_count = cu_device_count,
    .device_open = cu_device_open,
    .device_close = cu_device_close,
    .device_info = cu_device_info,
    .set_option = cu_set_option,
    .buffer_alloc = cu_buffer_alloc,
    .buffer_wrap = cu_buffer_wrap,
    .buffer_free = cu_buffer_free,
    .buffer_host = cu_buffer_host,
    .buffer_write = cu_buffer_write,
    .buffer_read = cu_buffer_read,
    .buffer_copy = cu_buffer_copy,
    .op_supported = cr_op_supported,
    .plan_open = cr_plan_open,
    .plan_close = cr_plan_close,
    .stream_open = cu_stream_open,
    .stream_close = cu_stream_close,
    .stream_submit = cu_stream_submit,
    .stream_sync = cu_stream_sync,
    .stream_cancel = cr_stream_cancel,
    .stream_clock = cu_stream_clock,
};

__attribute__((visibility("default"))) const credence_backend *credence_backend_entry(void) { return &backend; }
