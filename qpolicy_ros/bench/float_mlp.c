/* A peer of the integer kernel: the FP32 policy in plain C, as a Python type with the same calling
 * convention (buffer protocol, METH_FASTCALL). The benchmark compiles it with -O3 -march=native.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

enum { MAX_LAYERS = 8, MAX_WIDTH = 4096 };

static int layers, sizes[MAX_LAYERS + 1];
static float clip, *mean, *gain, *weights[MAX_LAYERS], *biases[MAX_LAYERS], *scale, *offset;
static float buffers[2][MAX_WIDTH];

/* Copy a C-contiguous float32 buffer; *count receives its length. */
static float *copy(PyObject *object, int *count) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) return NULL;
    float *to = NULL;
    if (view.itemsize == 4 && view.len <= (Py_ssize_t)4 * MAX_WIDTH * MAX_WIDTH) {
        to = aligned_alloc(64, (size_t)(view.len + 63) / 64 * 64);
        if (to) memcpy(to, view.buf, (size_t)view.len);
        *count = (int)(view.len / 4);
    }
    PyBuffer_Release(&view);
    if (!to) PyErr_SetString(PyExc_ValueError, "not a float32 array of a size that fits");
    return to;
}

/* load(mean, gain, clip, [weights (in, out)], [biases], scale, offset) */
static PyObject *load(PyObject *module, PyObject *args) {
    PyObject *m, *g, *w, *b, *s, *o;
    int count;
    if (!PyArg_ParseTuple(args, "OOfO!O!OO", &m, &g, &clip, &PyList_Type, &w, &PyList_Type, &b, &s,
                          &o))
        return NULL;
    layers = (int)PyList_GET_SIZE(w);
    if (layers > MAX_LAYERS || !(mean = copy(m, &sizes[0])) || !(gain = copy(g, &count)) ||
        !(scale = copy(s, &count)) || !(offset = copy(o, &count)))
        return NULL;
    for (int i = 0; i < layers; i++)
        if (!(weights[i] = copy(PyList_GET_ITEM(w, i), &count)) ||
            !(biases[i] = copy(PyList_GET_ITEM(b, i), &sizes[i + 1])))
            return NULL;
    Py_RETURN_NONE;
}

#include "float_mlp.h"

static PyObject *act(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    Py_buffer values, actions;
    if (count != 2 || PyObject_GetBuffer(args[0], &values, PyBUF_C_CONTIGUOUS) < 0) return NULL;
    if (PyObject_GetBuffer(args[1], &actions, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&values);
        return NULL;
    }
    int good = values.len == 4 * sizes[0] && actions.len == 4 * sizes[layers];
    if (good) compute(values.buf, actions.buf);
    PyBuffer_Release(&values);
    PyBuffer_Release(&actions);
    if (!good) return PyErr_Format(PyExc_ValueError, "wrong length");
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"load", load, METH_VARARGS, "load(mean, gain, clip, weights, biases, scale, offset)"},
    {"act", (PyCFunction)(void (*)(void))act, METH_FASTCALL, "act(observation, actions)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "float_mlp", NULL, -1, methods,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_float_mlp(void) { return PyModule_Create(&module); }
