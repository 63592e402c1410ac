/* Python module `qpolicy_hot_path`: wait, take and publish on `rcl`, without rclpy's executor.
 *
 * rclpy makes, owns and destroys every node, subscription, publisher and timer; this module works
 * on the structures behind them, which whoever calls it keeps alive. One thread calls it. The
 * interpreter's lock is given up while waiting and taking.
 */
#include "wait_set.h"

static PyObject *module_open(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    if (!PyArg_ParseTuple(args, "s", &path))
        return NULL;
    const char *missing = load_symbols(path);
    if (missing)
        return PyErr_Format(PyExc_OSError, "%s is not there", missing);
    Py_RETURN_NONE;
}

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "qpolicy_hot_path",
    .m_doc = "Wait, take and publish on rcl, without rclpy's executor.",
    .m_size = -1,
    .m_methods = (PyMethodDef[]){
        {"open", module_open, METH_VARARGS,
         "open(path)\n\nFind rcl's functions; `path` is that of librcl, loaded already. First of\n"
         "all. OSError if one is missing."},
        {"inside", (PyCFunction)(void (*)(void))vector_inside, METH_FASTCALL,
         "inside(values, low, high) -> bool\n\nWhether each of these float32 values is within its\n"
         "limits; NaN is not."},
        {NULL},
    },
};

PyMODINIT_FUNC PyInit_qpolicy_hot_path(void)
{
    PyObject *arrays = PyImport_ImportModule("array");
    if (!arrays)
        return NULL;
    array_type = PyObject_GetAttrString(arrays, "array");
    Py_DECREF(arrays);
    message_type.tp_methods = message_methods;
    if (!array_type || !make_info_keys() || PyType_Ready(&message_type) || PyType_Ready(&reader_type) ||
        PyType_Ready(&writer_type) || PyType_Ready(&waitset_type))
        return NULL;
    PyObject *self = PyModule_Create(&module);
    if (!self)
        return NULL;
    if (PyModule_AddObjectRef(self, "Message", (PyObject *)&message_type) ||
        PyModule_AddObjectRef(self, "Reader", (PyObject *)&reader_type) ||
        PyModule_AddObjectRef(self, "Writer", (PyObject *)&writer_type) ||
        PyModule_AddObjectRef(self, "WaitSet", (PyObject *)&waitset_type)) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}
