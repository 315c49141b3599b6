"""Uses libcredence.so from Python by ctypes: client.py LIBRARY DEVICE EXPECTED. Prints what it found, fails by assertion.

EXPECTED is the directory that ffi/test/expect wrote: a model, inputs, and what Go answers.
"""

import array
import ctypes
import json
import pathlib
import sys
import threading

OK, INVALID_ARGUMENT, BAD_HANDLE, TOO_SMALL, BAD_FILE = 0, 1, 9, 10, 12

library = ctypes.CDLL(sys.argv[1])
device = sys.argv[2].encode()
expected = pathlib.Path(sys.argv[3])


class Prediction(ctypes.Structure):
    """credence_prediction."""

    _fields_ = [("label", ctypes.c_int32), ("verdict", ctypes.c_int32)] + [
        (name, ctypes.c_double)
        for name in (
            "probability",
            "predictive_entropy",
            "aleatoric_entropy",
            "mutual_information",
            "distance",
            "explanation_percentile",
            "mahalanobis",
            "chi_square",
            "reconstruction",
            "combined",
            "unfamiliarity",
            "ambiguity",
        )
    ]


u64, size_t, text = ctypes.c_uint64, ctypes.c_size_t, ctypes.c_char_p
library.credence_version.restype = text
library.credence_open.argtypes = [text, ctypes.POINTER(u64), text, size_t]
library.credence_devices_json.argtypes = [u64, text, size_t, ctypes.POINTER(size_t), text, size_t]
pointer = ctypes.c_void_p
library.credence_load.argtypes = [u64, text, ctypes.POINTER(u64), text, size_t]
library.credence_model_json.argtypes = [u64, text, size_t, ctypes.POINTER(size_t), text, size_t]
library.credence_predict.argtypes = [u64, pointer, size_t, size_t, ctypes.POINTER(Prediction), size_t, pointer, size_t, text, size_t]
library.credence_explain_json.argtypes = [u64, pointer, size_t, text, size_t, ctypes.POINTER(size_t), text, size_t]
library.credence_close.argtypes = [u64, text, size_t]


def call(function, *arguments):
    """The status of a call and the message it left."""
    message = ctypes.create_string_buffer(512)
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

model = u64()
status, why = call(library.credence_load, handle, bytes(expected / "nothing"), ctypes.byref(model))
assert status == BAD_FILE and "nothing" in why and model.value == 0, (status, why)
assert call(library.credence_load, handle, bytes(expected / "model.safetensors"), ctypes.byref(model)) == (OK, "")
big = ctypes.create_string_buffer(1 << 20)
assert call(library.credence_model_json, model, big, len(big), None) == (OK, "")
info = json.loads(big.value)
values, classes = info["input_values"], info["classes"]
assert info["kind"] == "prob-psenn" and info["calibrated"], info


def numbers(name, kind):
    """The numbers of an expected file."""
    found = array.array(kind)
    found.frombytes((expected / name).read_bytes())
    return found


inputs = numbers("inputs", "f")
count = len(inputs) // values
want = numbers(sys.argv[2] + ".predictions", "d")
want_probabilities = numbers(sys.argv[2] + ".probabilities", "d")
members = len(Prediction._fields_)
assert len(want) == count * members and len(want_probabilities) == count * classes


def predict(rows):
    """The predictions of the first rows as numbers in the order of the structure, and the probabilities."""
    got = (Prediction * rows)()
    probabilities = array.array("d", bytes(8 * rows * classes))
    status, why = call(
        library.credence_predict, model, inputs.buffer_info()[0], values, rows, got, ctypes.sizeof(Prediction),
        probabilities.buffer_info()[0], rows * classes)  # fmt: skip
    assert (status, why) == (OK, ""), (status, why)
    return array.array("d", [getattr(p, name) for p in got for name, _ in Prediction._fields_]), probabilities


def check(rows):
    """Every bit is that of Go; tobytes, because a NaN is not equal to itself."""
    got, probabilities = predict(rows)
    assert got.tobytes() == want[: rows * members].tobytes(), (got, want)
    assert probabilities.tobytes() == want_probabilities[: rows * classes].tobytes()


check(count)
failures = []


def many_times():
    try:
        for i in range(20):
            check(1 + i % count)
    except AssertionError as mistake:
        failures.append(mistake)


threads = [threading.Thread(target=many_times) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures

assert call(library.credence_explain_json, model, inputs.buffer_info()[0], values, big, len(big), None) == (OK, "")
assert big.value == (expected / (sys.argv[2] + ".json")).read_bytes()
explanation = json.loads(big.value)
print("class", explanation["class"], explanation["prediction"]["verdict"] + ":", explanation["reasons"][0])

answer = Prediction()
status, why = call(library.credence_predict, model, None, values, 1, answer, ctypes.sizeof(answer), None, 0)
assert status == INVALID_ARGUMENT and "NULL" in why, (status, why)
status, why = call(library.credence_predict, handle, inputs.buffer_info()[0], values, 1, answer, ctypes.sizeof(answer), None, 0)
assert status == BAD_HANDLE and "is a runtime, a model is needed" in why, (status, why)

assert call(library.credence_close, handle) == (OK, "")
status, why = call(library.credence_close, handle)
assert status == BAD_HANDLE and "closed already" in why, (status, why)
status, why = call(library.credence_devices_json, 0, None, 0, ctypes.byref(needed))
assert status == BAD_HANDLE and "zero" in why, (status, why)
status, why = call(library.credence_predict, model, inputs.buffer_info()[0], values, 1, answer, ctypes.sizeof(answer), None, 0)
assert status == BAD_HANDLE and "closed already" in why, (status, why)
