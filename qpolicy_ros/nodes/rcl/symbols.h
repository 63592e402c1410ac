/* The functions of rcl and of what lies below it, found in the libraries that rclpy has loaded.
 *
 * Linking them would tie this binary to one place of the libraries; rclpy knows the right one.
 */
#ifndef QPOLICY_RCL_SYMBOLS_H
#define QPOLICY_RCL_SYMBOLS_H

#include <dlfcn.h>
#include <stddef.h>

#include "builtin_interfaces/msg/detail/time__struct.h"
#include "rcl/error_handling.h"
#include "rcl/publisher.h"
#include "rcl/subscription.h"
#include "rcl/timer.h"
#include "rcl/wait.h"
#include "rosidl_runtime_c/primitives_sequence_functions.h"
#include "rosidl_runtime_c/string_functions.h"

#define RCL_SYMBOLS(X)                     \
    X(rcl_get_zero_initialized_wait_set)   \
    X(rcl_wait_set_init)                   \
    X(rcl_wait_set_fini)                   \
    X(rcl_wait_set_clear)                  \
    X(rcl_wait_set_resize)                 \
    X(rcl_wait_set_add_subscription)       \
    X(rcl_wait_set_add_guard_condition)    \
    X(rcl_wait_set_add_timer)              \
    X(rcl_wait_set_add_client)             \
    X(rcl_wait_set_add_service)            \
    X(rcl_wait_set_add_event)              \
    X(rcl_wait)                            \
    X(rcl_take)                            \
    X(rcl_publish)                         \
    X(rcl_publisher_get_actual_qos)        \
    X(rcl_publisher_get_subscription_count) \
    X(rcl_timer_call)                      \
    X(rcl_trigger_guard_condition)         \
    X(rcutils_get_default_allocator)       \
    X(rcutils_get_error_string)            \
    X(rcutils_reset_error)                 \
    X(rosidl_runtime_c__String__assignn)   \
    X(rosidl_runtime_c__String__Sequence__init) \
    X(rosidl_runtime_c__String__Sequence__fini) \
    X(rosidl_runtime_c__double__Sequence__init) \
    X(rosidl_runtime_c__double__Sequence__fini)

#define POINTER_TO(name) __typeof__(&name) name##_;
static struct {
    RCL_SYMBOLS(POINTER_TO)
} from;
#undef POINTER_TO

/* Fill `from`; the path is that of librcl. Returns what is missing, NULL if nothing is. */
static const char *load_symbols(const char *path)
{
    /* What is found through one library includes the libraries that it needs. */
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (!library)
        return path;
#define FIND(name)                                    \
    *(void **)(&from.name##_) = dlsym(library, #name); \
    if (!from.name##_)                                \
        return #name;
    RCL_SYMBOLS(FIND)
#undef FIND
    return NULL;
}

#endif
