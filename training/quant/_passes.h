/* What the modules of the learners' passes have in common; after Python.h. */
#ifndef QPOLICY_PASSES_H
#define QPOLICY_PASSES_H

#if defined(__x86_64__) && defined(__GNUC__)
#include "_tiles.h"
#endif

/* Each source makes two modules, by the products it is built for. */
#ifdef PRODUCTS_FLOAT32
#define MODULE_NAME(name) name "_float32"
#define MODULE_INIT(name) PyMODINIT_FUNC PyInit_##name##_float32(void)
#else
#define MODULE_NAME(name) name "_bfloat16"
#define MODULE_INIT(name) PyMODINIT_FUNC PyInit_##name##_bfloat16(void)
#endif

#ifndef PASSES_SOURCE
#define PASSES_SOURCE "" /* setup.py gives the SHA-256 of the module's source and all headers */
#endif

/* The module, with `available`: whether this processor runs its passes; `source`: what it is built
 * from. */
static PyObject *module_of(struct PyModuleDef *definition) {
    int available = 0;
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    available = supported();
#endif
    PyObject *module = PyModule_Create(definition);
    if (module && (PyModule_AddIntConstant(module, "available", available) < 0 ||
                   PyModule_AddStringConstant(module, "source", PASSES_SOURCE) < 0)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}

#if defined(__x86_64__) && defined(__GNUC__)

/* The next `bytes` of a block, on a cache line's boundary. */
static char *take(char **free_, long bytes) {
    char *taken = *free_;
    *free_ += (bytes + 63) / 64 * 64;
    return taken;
}

/* A call's arguments: addresses and counts. 0 where one is no number, with the error set. */
static int read_numbers(PyObject *const *arguments, Py_ssize_t given, long *into) {
    for (Py_ssize_t i = 0; i < given; i++) {
        into[i] = PyLong_AsLong(arguments[i]);
        if (into[i] == -1 && PyErr_Occurred()) return 0;
    }
    return 1;
}

/* The same of a call that takes `wanted` of them. */
static inline int exactly(PyObject *const *arguments, Py_ssize_t given, Py_ssize_t wanted,
                          long *into) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", wanted, given);
        return 0;
    }
    return read_numbers(arguments, given, into);
}

#endif

#endif
