"""Uses libcredence.so from Python by ctypes: client.py LIBRARY DEVICE. Prints what it found, fails by assertion."""

import ctypes
import json
import sys

OK, INVALID_ARGUMENT, BAD_HANDLE, TOO_SMALL = 0, 1, 9, 10

library = ctypes.CDLL(sys.argv[1])
device = sys.argv[2].encode()

u64, size_t, text = ctypes.c_uint64, ctypes.c_size_t, ctypes.c_char_p
library.credence_version.restype = text
library.credence_open.argtypes = [text, ctypes.POINTER(u64), text, size_t]
library.credence_devices_json.argtypes = [u64, text, size_t, ctypes.POINTER(size_t), text, size_t]
library.credence_close.argtypes = [u64, text, size_t]

message = ctypes.create_string_buffer(512)


def call(function, *arguments):
    """The status of a call and the message it left."""
    message.value = b""
    status = function(*arguments, message, len(message))
    return status, message.value.decode()


assert library.credence_version().decode().count(".") == 2

handle = u64()
status, why = call(library.credence_open, b"bogus", ctypes.byref(handle))
assert status == INVALID_ARGUMENT and "bogus" in why and handle.value == 0, (status, why)

status, why = call(library.credence_open, device, ctypes.byref(handle))
assert status == OK and handle.value != 0, (status, why)

needed = size_t()
assert call(library.credence_devices_json, handle, None, 0, ctypes.byref(needed)) == (OK, "")
buffer = ctypes.create_string_buffer(needed.value)
assert call(library.credence_devices_json, handle, buffer, 3, None)[0] == TOO_SMALL
assert call(library.credence_devices_json, handle, buffer, len(buffer), None) == (OK, "")
report = json.loads(buffer.value)
assert report["requested"] == device.decode(), report
assert report["chosen"]["backend"] == device.decode(), report
print(report["chosen"])

assert call(library.credence_close, handle) == (OK, "")
status, why = call(library.credence_close, handle)
assert status == BAD_HANDLE and "closed already" in why, (status, why)
status, why = call(library.credence_devices_json, 0, None, 0, ctypes.byref(needed))
assert status == BAD_HANDLE and "zero" in why, (status, why)
