/* `WaitSet`: waits for entities, and serves the hot ones. */
#ifndef QPOLICY_RCL_WAIT_SET_H
#define QPOLICY_RCL_WAIT_SET_H

#include "ends.h"

enum { SUBSCRIPTION, GUARD, TIMER, CLIENT, SERVICE, EVENT, KINDS };

typedef struct {
    rcl_timer_t *timer;
    PyObject *callback;
    size_t place; /* in the wait set */
    bool ready;
} HotTimer;

/* `WaitSet`: entities that it only waits for, and hot ones that it serves itself.
 *
 * Two of them work side by side: one with the hot entities, in the thread that serves, and one
 * with all others, in a thread that only watches. Together they would cost 100 us a wait.
 */
typedef struct {
    PyObject_HEAD
    rcl_wait_set_t set;
    bool made;
    int hand_over; /* whether a guard condition stays triggered, for rclpy to see */
    size_t count[KINDS];
    void **entities[KINDS]; /* of rclpy; `rcl_wait` overwrites the set's own list each time */
    PyObject *readers;      /* tuple of Reader */
    HotTimer *timers;
    size_t timer_count;
    size_t *places; /* of the readers in the wait set */
    bool busy;      /* within `wait` */
} WaitSet;

static void forget(WaitSet *self)
{
    for (int kind = 0; kind < KINDS; kind++) {
        PyMem_RawFree(self->entities[kind]);
        self->entities[kind] = NULL;
        self->count[kind] = 0;
    }
    for (size_t i = 0; i < self->timer_count; i++)
        Py_CLEAR(self->timers[i].callback);
    PyMem_RawFree(self->timers);
    PyMem_RawFree(self->places);
    self->timers = NULL;
    self->places = NULL;
    self->timer_count = 0;
    Py_CLEAR(self->readers);
}

static int waitset_init(WaitSet *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    unsigned long long context;
    if (!PyArg_ParseTuple(args, "Kp", &context, &self->hand_over))
        return -1;
    if (self->made)
        return 0;
    self->set = from.rcl_get_zero_initialized_wait_set_();
    if (from.rcl_wait_set_init_(&self->set, 0, 0, 0, 0, 0, 0, (void *)(uintptr_t)context,
                                from.rcutils_get_default_allocator_()) != RCL_RET_OK) {
        fail("wait set");
        return -1;
    }
    self->made = true;
    return 0;
}

static int waitset_traverse(WaitSet *self, visitproc visit, void *arg)
{
    Py_VISIT(self->readers);
    for (size_t i = 0; i < self->timer_count; i++)
        Py_VISIT(self->timers[i].callback);
    return 0;
}

static int waitset_clear(WaitSet *self)
{
    forget(self);
    return 0;
}

static void waitset_dealloc(WaitSet *self)
{
    PyObject_GC_UnTrack(self);
    forget(self);
    if (self->made && from.rcl_wait_set_fini_(&self->set) != RCL_RET_OK)
        from.rcutils_reset_error_();
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int copy_entities(WaitSet *self, int kind, const void *entities, size_t count)
{
    self->entities[kind] = PyMem_RawMalloc((count + 1) * sizeof(void *));
    if (!self->entities[kind])
        return out_of_memory();
    if (count)
        memcpy(self->entities[kind], entities, count * sizeof(void *));
    self->count[kind] = count;
    return 0;
}

/* What a callback must not do to the set that calls it back. */
static bool is_busy(const WaitSet *self)
{
    if (self->busy)
        PyErr_SetString(PyExc_RuntimeError, "the wait set is at work: not from a callback of it");
    return self->busy;
}

/* Take over what rclpy's wait set waits for, and the hot ones. */
static PyObject *waitset_load(WaitSet *self, PyObject *args)
{
    unsigned long long source;
    PyObject *readers, *timers;
    if (is_busy(self))
        return NULL;
    if (!PyArg_ParseTuple(args, "KO!O!", &source, &PyTuple_Type, &readers, &PyTuple_Type, &timers))
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(readers); i++)
        if (!Py_IS_TYPE(PyTuple_GET_ITEM(readers, i), &reader_type))
            return PyErr_Format(PyExc_TypeError, "a tuple of Reader is wanted");
    forget(self);
    const rcl_wait_set_t *known = (const void *)(uintptr_t)source;
    if (copy_entities(self, SUBSCRIPTION, known->subscriptions, known->size_of_subscriptions) ||
        copy_entities(self, GUARD, known->guard_conditions, known->size_of_guard_conditions) ||
        copy_entities(self, TIMER, known->timers, known->size_of_timers) ||
        copy_entities(self, CLIENT, known->clients, known->size_of_clients) ||
        copy_entities(self, SERVICE, known->services, known->size_of_services) ||
        copy_entities(self, EVENT, known->events, known->size_of_events))
        return NULL;
    const size_t timer_count = (size_t)PyTuple_GET_SIZE(timers);
    const size_t reader_count = (size_t)PyTuple_GET_SIZE(readers);
    self->timers = PyMem_RawCalloc(timer_count + 1, sizeof *self->timers);
    self->places = PyMem_RawCalloc(reader_count + 1, sizeof *self->places);
    if (!self->timers || !self->places)
        return PyErr_NoMemory();
    for (size_t i = 0; i < timer_count; i++) {
        unsigned long long timer;
        PyObject *callback;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(timers, (Py_ssize_t)i), "KO", &timer, &callback))
            return NULL;
        self->timers[i].timer = (void *)(uintptr_t)timer;
        self->timers[i].callback = Py_NewRef(callback);
        self->timer_count = i + 1;
    }
    self->readers = Py_NewRef(readers);
    if (from.rcl_wait_set_resize_(&self->set, self->count[SUBSCRIPTION] + reader_count,
                                  self->count[GUARD], self->count[TIMER] + timer_count,
                                  self->count[CLIENT], self->count[SERVICE],
                                  self->count[EVENT]) != RCL_RET_OK)
        return fail("wait set");
    Py_RETURN_NONE;
}

static Reader *reader_at(const WaitSet *self, size_t index)
{
    return (Reader *)PyTuple_GET_ITEM(self->readers, (Py_ssize_t)index);
}

static size_t reader_count(const WaitSet *self)
{
    return self->readers ? (size_t)PyTuple_GET_SIZE(self->readers) : 0;
}

static rcl_ret_t refill(WaitSet *self)
{
    rcl_wait_set_t *set = &self->set;
    rcl_ret_t status = from.rcl_wait_set_clear_(set);
#define ADD(kind, type, function)                                              \
    for (size_t i = 0; status == RCL_RET_OK && i < self->count[kind]; i++)     \
        if (self->entities[kind][i])                                           \
            status = from.function(set, (const type *)self->entities[kind][i], NULL);
    ADD(SUBSCRIPTION, rcl_subscription_t, rcl_wait_set_add_subscription_)
    ADD(GUARD, rcl_guard_condition_t, rcl_wait_set_add_guard_condition_)
    ADD(TIMER, rcl_timer_t, rcl_wait_set_add_timer_)
    ADD(CLIENT, rcl_client_t, rcl_wait_set_add_client_)
    ADD(SERVICE, rcl_service_t, rcl_wait_set_add_service_)
    ADD(EVENT, rcl_event_t, rcl_wait_set_add_event_)
#undef ADD
    for (size_t i = 0; status == RCL_RET_OK && i < self->timer_count; i++)
        status = from.rcl_wait_set_add_timer_(set, self->timers[i].timer, &self->timers[i].place);
    for (size_t i = 0; status == RCL_RET_OK && i < reader_count(self); i++)
        status = from.rcl_wait_set_add_subscription_(set, reader_at(self, i)->subscription,
                                                     &self->places[i]);
    return status;
}

/* Whether one of the first `count` is ready. */
static bool any(const void *entities, size_t count)
{
    void *const *each = entities;
    for (size_t i = 0; i < count; i++)
        if (each[i])
            return true;
    return false;
}

/* Whether one that is not hot is ready. Waiting resets guard conditions: they are set again for
 * whoever is told. */
static bool rest_is_ready(WaitSet *self)
{
    const rcl_wait_set_t *set = &self->set;
    bool ready = any(set->subscriptions, self->count[SUBSCRIPTION]) ||
                 any(set->timers, self->count[TIMER]) || any(set->clients, self->count[CLIENT]) ||
                 any(set->services, self->count[SERVICE]) || any(set->events, self->count[EVENT]);
    for (size_t i = 0; i < self->count[GUARD]; i++)
        if (set->guard_conditions[i]) {
            ready = true;
            if (self->hand_over && from.rcl_trigger_guard_condition_((void *)set->guard_conditions[i]) != RCL_RET_OK)
                from.rcutils_reset_error_();
        }
    return ready;
}

/* Whether the wait ended though nothing is ready. */
static bool is_empty(const rcl_wait_set_t *set)
{
    return !any(set->subscriptions, set->size_of_subscriptions) &&
           !any(set->guard_conditions, set->size_of_guard_conditions) &&
           !any(set->timers, set->size_of_timers) && !any(set->clients, set->size_of_clients) &&
           !any(set->services, set->size_of_services) && !any(set->events, set->size_of_events);
}

/* Take what is there for the hot ones; without the interpreter's lock.
 *
 * After an `empty` wait too: a message may have come and be gone again (expired, for example), and
 * the middleware ends every wait at once until somebody has tried to take it.
 */
static void take_all(WaitSet *self, bool empty)
{
    for (size_t i = 0; i < self->timer_count; i++)
        self->timers[i].ready = self->set.timers[self->timers[i].place] != NULL;
    for (size_t i = 0; i < reader_count(self); i++) {
        Reader *reader = reader_at(self, i);
        reader->taken = RCL_RET_SUBSCRIPTION_TAKE_FAILED;
        if (empty || self->set.subscriptions[self->places[i]])
            reader->taken = from.rcl_take_(reader->subscription, reader->message->data,
                                           &reader->info, NULL);
    }
}

/* Call the hot ones back, timers first, as rclpy does. */
static int serve(WaitSet *self)
{
    for (size_t i = 0; i < self->timer_count; i++) {
        if (!self->timers[i].ready)
            continue;
        const rcl_ret_t called = from.rcl_timer_call_(self->timers[i].timer);
        if (called == RCL_RET_TIMER_CANCELED) {
            from.rcutils_reset_error_();
            continue;
        }
        if (called != RCL_RET_OK) {
            fail("timer");
            return -1;
        }
        PyObject *result = PyObject_CallNoArgs(self->timers[i].callback);
        if (!result)
            return -1;
        Py_DECREF(result);
    }
    for (size_t i = 0; i < reader_count(self); i++) {
        Reader *reader = reader_at(self, i);
        if (reader->taken == RCL_RET_SUBSCRIPTION_TAKE_FAILED)
            continue; /* no message, or it has been taken already */
        if (reader->taken != RCL_RET_OK) {
            fail("take");
            return -1;
        }
        if (reader_serve(reader))
            return -1;
    }
    return 0;
}

static PyObject *waitset_wait(WaitSet *self, PyObject *argument)
{
    const long long timeout_ns = PyLong_AsLongLong(argument);
    if ((timeout_ns == -1 && PyErr_Occurred()) || is_busy(self))
        return NULL;
    self->busy = true;
    rcl_ret_t status;
    bool rest = false, empty = false;
    Py_BEGIN_ALLOW_THREADS
    status = refill(self);
    if (status == RCL_RET_OK)
        status = from.rcl_wait_(&self->set, timeout_ns);
    if (status == RCL_RET_OK) {
        rest = rest_is_ready(self);
        empty = is_empty(&self->set);
        take_all(self, empty);
    }
    Py_END_ALLOW_THREADS
    bool failed = false;
    if (status == RCL_RET_TIMEOUT)
        from.rcutils_reset_error_();
    else if (status == RCL_RET_OK)
        failed = serve(self) != 0;
    else
        failed = fail("wait") == NULL;
    self->busy = false;
    if (failed)
        return NULL;
    if (empty)
        Py_RETURN_NONE;
    return PyBool_FromLong(rest);
}

static PyObject *waitset_unload(WaitSet *self, PyObject *Py_UNUSED(none))
{
    if (is_busy(self))
        return NULL;
    forget(self);
    Py_RETURN_NONE;
}

static PyTypeObject waitset_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "qpolicy_hot_path.WaitSet",
    .tp_doc = PyDoc_STR(
        "WaitSet(context, hand_over)\n\n"
        "Waits in a context, given by its address. With `hand_over` a guard condition that ended\n"
        "the wait stays triggered, for rclpy to see."),
    .tp_basicsize = sizeof(WaitSet),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)waitset_init,
    .tp_traverse = (traverseproc)waitset_traverse,
    .tp_clear = (inquiry)waitset_clear,
    .tp_dealloc = (destructor)waitset_dealloc,
    .tp_methods = (PyMethodDef[]){
        {"load", (PyCFunction)waitset_load, METH_VARARGS,
         "load(wait_set, readers, timers)\n\nWait for what rclpy's wait set of this address holds,\n"
         "and serve `readers` and `timers`: tuples of Reader and of (address, callback)."},
        {"unload", (PyCFunction)waitset_unload, METH_NOARGS, "Wait for nothing any more."},
        {"wait", (PyCFunction)waitset_wait, METH_O,
         "wait(timeout_ns) -> bool | None\n\nServe the hot ones that are ready, once; negative: no\n"
         "time limit. Returns whether one of the others is ready, None where the wait ended though\n"
         "nothing was."},
        {NULL},
    },
};

#endif
