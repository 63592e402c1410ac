/* `Reader` and `Writer`: what takes a subscription's messages, and what publishes. */
#ifndef QPOLICY_RCL_ENDS_H
#define QPOLICY_RCL_ENDS_H

#include "vector.h"

/* `Reader`: what a subscription's messages are taken into, and who is called then. */
typedef struct {
    PyObject_HEAD
    const rcl_subscription_t *subscription;
    Message *message; /* the one that every message is taken into */
    PyObject *callback;
    int with_info;
    rmw_message_info_t info;
    PyObject *gid; /* the last publisher's identity, and its bytes */
    uint8_t gid_bytes[sizeof((rmw_gid_t){0}.data)];
    rcl_ret_t taken;
} Reader;

/* `Writer`: a publisher and the message that it publishes. */
typedef struct {
    PyObject_HEAD
    const rcl_publisher_t *publisher; /* NULL once it is closed */
    Message *message;
    bool is_volatile; /* who subscribes later gets nothing of before */
} Writer;

static PyObject *fail(const char *what)
{
    PyErr_Format(PyExc_RuntimeError, "%s: %s", what, from.rcutils_get_error_string_().str);
    from.rcutils_reset_error_();
    return NULL;
}

static const Members *members_of(unsigned long long type_support)
{
    const rosidl_message_type_support_t *support = (const void *)(uintptr_t)type_support;
    return support->data;
}

static int reader_init(Reader *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    unsigned long long subscription, type_support;
    PyObject *callback;
    if (!PyArg_ParseTuple(args, "KKOp", &subscription, &type_support, &callback, &self->with_info))
        return -1;
    self->subscription = (const void *)(uintptr_t)subscription;
    Py_XSETREF(self->callback, Py_NewRef(callback));
    Py_XSETREF(self->message, new_message(members_of(type_support)));
    return self->message ? 0 : -1;
}

static int reader_traverse(Reader *self, visitproc visit, void *arg)
{
    Py_VISIT(self->callback);
    return 0;
}

static int reader_clear(Reader *self)
{
    Py_CLEAR(self->callback);
    return 0;
}

static void reader_dealloc(Reader *self)
{
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->callback);
    Py_XDECREF(self->message);
    Py_XDECREF(self->gid);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* The publisher's identity as rclpy gives it; the same object as long as it is the same one. */
static PyObject *publisher_gid(Reader *self)
{
    const rmw_gid_t *gid = &self->info.publisher_gid;
    if (!self->gid || memcmp(self->gid_bytes, gid->data, sizeof gid->data)) {
        PyObject *made = Py_BuildValue("{sssy#}", "implementation_identifier",
                                       gid->implementation_identifier, "data", gid->data,
                                       (Py_ssize_t)sizeof gid->data);
        if (!made)
            return NULL;
        memcpy(self->gid_bytes, gid->data, sizeof gid->data);
        Py_XSETREF(self->gid, made);
    }
    return Py_NewRef(self->gid);
}

/* A sequence number, None where the middleware counts none. */
static PyObject *sequence_number(uint64_t number)
{
    if (number == RMW_MESSAGE_INFO_SEQUENCE_NUMBER_UNSUPPORTED)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(number);
}

enum { SENT, RECEIVED, PUBLICATION, RECEPTION, GID, INFO_KEYS };
static PyObject *info_keys[INFO_KEYS];

static bool make_info_keys(void)
{
    static const char *const names[INFO_KEYS] = {
        "source_timestamp", "received_timestamp", "publication_sequence_number",
        "reception_sequence_number", "publisher_gid"};
    for (int i = 0; i < INFO_KEYS; i++)
        if (!(info_keys[i] = PyUnicode_InternFromString(names[i])))
            return false;
    return true;
}

/* One of the message's times, or its origin, as in rclpy's dict: made when it is asked for. */
static PyObject *reader_info(Reader *self, PyObject *key)
{
    const rmw_message_info_t *info = &self->info;
    int which = 0;
    while (which < INFO_KEYS && PyUnicode_Compare(key, info_keys[which]))
        which++;
    switch (which) {
    case SENT: return PyLong_FromLongLong(info->source_timestamp);
    case RECEIVED: return PyLong_FromLongLong(info->received_timestamp);
    case PUBLICATION: return sequence_number(info->publication_sequence_number);
    case RECEPTION: return sequence_number(info->reception_sequence_number);
    case GID: return publisher_gid(self);
    }
    PyErr_SetObject(PyExc_KeyError, key);
    return NULL;
}

/* Call back with what was taken. */
static int reader_serve(Reader *self)
{
    PyObject *const given[] = {(PyObject *)self->message, (PyObject *)self};
    PyObject *result = PyObject_Vectorcall(self->callback, given, self->with_info ? 2 : 1, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PyMappingMethods reader_mapping = {.mp_subscript = (binaryfunc)reader_info};

static PyTypeObject reader_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "qpolicy_hot_path.Reader",
    .tp_doc = PyDoc_STR(
        "Reader(subscription, type_support, callback, with_info)\n\n"
        "Takes a subscription's messages; the first two are addresses. `callback` gets a Message,\n"
        "the same one every time, and with `with_info` this, which has the items of rclpy's dict."),
    .tp_basicsize = sizeof(Reader),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)reader_init,
    .tp_traverse = (traverseproc)reader_traverse,
    .tp_clear = (inquiry)reader_clear,
    .tp_dealloc = (destructor)reader_dealloc,
    .tp_as_mapping = &reader_mapping,
};

static int writer_init(Writer *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    unsigned long long publisher, type_support;
    if (!PyArg_ParseTuple(args, "KK", &publisher, &type_support))
        return -1;
    self->publisher = (const void *)(uintptr_t)publisher;
    Py_XSETREF(self->message, new_message(members_of(type_support)));
    const rmw_qos_profile_t *qos =
        self->publisher ? from.rcl_publisher_get_actual_qos_(self->publisher) : NULL;
    self->is_volatile = qos && qos->durability == RMW_QOS_POLICY_DURABILITY_VOLATILE;
    return self->message ? 0 : -1;
}

/* Whether a message would reach anybody, now or later. */
static bool is_heard(const Writer *self)
{
    size_t readers;
    if (!self->is_volatile)
        return true;
    if (from.rcl_publisher_get_subscription_count_(self->publisher, &readers) != RCL_RET_OK) {
        from.rcutils_reset_error_();
        return true;
    }
    return readers > 0;
}

static void writer_dealloc(Writer *self)
{
    Py_XDECREF(self->message);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *writer_message(Writer *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->message);
}

static PyObject *writer_publish(Writer *self, PyObject *Py_UNUSED(none))
{
    if (!self->publisher) {
        PyErr_SetString(PyExc_RuntimeError, "publish: the publisher is closed");
        return NULL;
    }
    /* Half of the node's topics are for one kind of listener each. */
    if (is_heard(self) &&
        from.rcl_publish_(self->publisher, self->message->data, NULL) != RCL_RET_OK)
        return fail("publish");
    Py_RETURN_NONE;
}

static PyObject *writer_send(Writer *self, PyObject *args)
{
    PyObject *values;
    int sec;
    unsigned int nanosec;
    if (!PyArg_ParseTuple(args, "(iI)O", &sec, &nanosec, &values))
        return NULL;
    builtin_interfaces__msg__Time *stamp = stamp_at(self->message);
    void *row = row_at(self->message, "position", TYPE(DOUBLE));
    if (!stamp || !row)
        return PyErr_Format(PyExc_TypeError, "%s has no stamp or positions",
                            self->message->members->message_name_);
    stamp->sec = sec;
    stamp->nanosec = nanosec;
    return set_doubles(row, values) ? NULL : writer_publish(self, NULL);
}

static PyObject *writer_is_heard(Writer *self, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(self->publisher && is_heard(self));
}

static PyObject *writer_close(Writer *self, PyObject *Py_UNUSED(none))
{
    self->publisher = NULL;
    Py_RETURN_NONE;
}

static PyTypeObject writer_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "qpolicy_hot_path.Writer",
    .tp_doc = PyDoc_STR("Writer(publisher, type_support)\n\nPublishes its `message`."),
    .tp_basicsize = sizeof(Writer),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)writer_init,
    .tp_dealloc = (destructor)writer_dealloc,
    .tp_methods = (PyMethodDef[]){
        {"publish", (PyCFunction)writer_publish, METH_NOARGS, "Publish `message` as it is now."},
        {"send", (PyCFunction)writer_send, METH_VARARGS,
         "send(stamp, values)\n\nSet `header.stamp` and `position`, publish."},
        {"is_heard", (PyCFunction)writer_is_heard, METH_NOARGS,
         "Whether publishing would reach anybody."},
        {"close", (PyCFunction)writer_close, METH_NOARGS, "Publish no more."},
        {NULL},
    },
    .tp_getset = (PyGetSetDef[]){
        {"message", (getter)writer_message, NULL, "What is published.", NULL},
        {NULL},
    },
};

#endif
