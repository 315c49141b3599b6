/* The CPU backend's table of functions, behind the one exported symbol. */
#include "device.h"

static const credence_backend backend = {
    .struct_size = sizeof(credence_backend),
    .abi = CREDENCE_ABI,
    .name = "cpu",
    .build = "credence " CREDENCE_VERSION ", " CREDENCE_COMPILER ", OpenBLAS " CREDENCE_OPENBLAS,
    .device_count = cr_device_count,
    .device_open = cr_device_open,
    .device_close = cr_device_close,
    .device_info = cr_device_info,
    .set_option = cr_set_option,
    .buffer_alloc = cr_buffer_alloc,
    .buffer_wrap = cr_buffer_wrap,
    .buffer_free = cr_buffer_free,
    .buffer_host = cr_buffer_host,
    .buffer_write = cr_buffer_write,
    .buffer_read = cr_buffer_read,
    .buffer_copy = cr_buffer_copy,
    .op_supported = cr_op_supported,
    .plan_open = cr_plan_open,
    .plan_close = cr_plan_close,
    .stream_open = cr_stream_open,
    .stream_close = cr_stream_close,
    .stream_submit = cr_stream_submit,
    .stream_sync = cr_stream_sync,
    .stream_cancel = cr_stream_cancel,
    .stream_clock = cr_stream_clock,
};

__attribute__((visibility("default"))) const credence_backend *credence_backend_entry(void) { return &backend; }
