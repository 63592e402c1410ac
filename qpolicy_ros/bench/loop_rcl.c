/* Both ends of the loop's bench in C on `rcl`: who asks, and an echo that does next to nothing.
 *
 * Python makes the nodes, publishers and subscriptions, and calls these by ctypes, which gives up
 * the interpreter's lock. Nothing of Python runs while a time is taken.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rosidl_typesupport_introspection_c/message_introspection.h"
#include "sensor_msgs/msg/detail/joint_state__struct.h"
#include "symbols.h"

typedef sensor_msgs__msg__JointState JointState;

enum { ANSWERED, NO_ANSWER, FAILED };

typedef struct {
    const rcl_subscription_t *subscription;
    const rcl_publisher_t *publisher;
    const rosidl_typesupport_introspection_c__MessageMembers *layout;
    rcl_wait_set_t set;
    JointState out, in;
    rmw_message_info_t info; /* of `in` */
} Peer;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Find rcl's functions in the library at `path`; returns what is missing. */
const char *open_rcl(const char *path)
{
    return load_symbols(path);
}

/* What asks or echoes, with `count` values under these names; NULL if it cannot be made. */
Peer *new_peer(void *context, const void *subscription, const void *publisher,
               const rosidl_message_type_support_t *type, const char *const *names, size_t count)
{
    Peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    peer->subscription = subscription;
    peer->publisher = publisher;
    peer->layout = type->data;
    peer->layout->init_function(&peer->out, ROSIDL_RUNTIME_C_MSG_INIT_ALL);
    peer->layout->init_function(&peer->in, ROSIDL_RUNTIME_C_MSG_INIT_ALL);
    peer->set = from.rcl_get_zero_initialized_wait_set_();
    bool made = from.rcl_wait_set_init_(&peer->set, 1, 1, 0, 0, 0, 0, context,
                                        from.rcutils_get_default_allocator_()) == RCL_RET_OK;
    made = made && from.rosidl_runtime_c__double__Sequence__init_(&peer->out.position, count);
    made = made && from.rosidl_runtime_c__String__Sequence__init_(&peer->out.name, count);
    for (size_t i = 0; made && i < count; i++)
        made = from.rosidl_runtime_c__String__assignn_(&peer->out.name.data[i], names[i],
                                                       strlen(names[i]));
    if (made) {
        memset(peer->out.position.data, 0, count * sizeof *peer->out.position.data);
        return peer;
    }
    free(peer);
    return NULL;
}

void free_peer(Peer *peer)
{
    peer->layout->fini_function(&peer->out);
    peer->layout->fini_function(&peer->in);
    worked(from.rcl_wait_set_fini_(&peer->set));
    free(peer);
}

/* Wait for a message, or for `guard` where there is one, and take it. */
static int take(Peer *peer, const rcl_guard_condition_t *guard, int64_t timeout_ns)
{
    rcl_ret_t status = from.rcl_wait_set_clear_(&peer->set);
    if (status == RCL_RET_OK)
        status = from.rcl_wait_set_add_subscription_(&peer->set, peer->subscription, NULL);
    if (status == RCL_RET_OK && guard)
        status = from.rcl_wait_set_add_guard_condition_(&peer->set, guard, NULL);
    if (status == RCL_RET_OK)
        status = from.rcl_wait_(&peer->set, timeout_ns);
    if (status == RCL_RET_TIMEOUT || (status == RCL_RET_OK && guard && peer->set.guard_conditions[0]))
        return NO_ANSWER;
    if (status == RCL_RET_OK)
        status = from.rcl_take_(peer->subscription, &peer->in, &peer->info, NULL);
    if (status == RCL_RET_SUBSCRIPTION_TAKE_FAILED)
        return NO_ANSWER;
    return status == RCL_RET_OK ? ANSWERED : FAILED;
}

/* Answer every message with the same values and the message's stamp, until `guard` is triggered. */
int echo(Peer *peer, const rcl_guard_condition_t *guard)
{
    for (;;) {
        int got = take(peer, guard, -1);
        if (got == FAILED || (got == NO_ANSWER && peer->set.guard_conditions[0]))
            return got;
        if (got == NO_ANSWER)
            continue;
        peer->out.header.stamp = peer->in.header.stamp;
        if (from.rcl_publish_(peer->publisher, &peer->out, NULL) != RCL_RET_OK)
            return FAILED;
    }
}

/* Publish `values` under the stamp `number`, s, and wait for the answer that carries it. */
int ask(Peer *peer, const double *values, int32_t number, int64_t timeout_ns, int64_t *took_ns)
{
    memcpy(peer->out.position.data, values, peer->out.position.size * sizeof *values);
    peer->out.header.stamp.sec = number;
    const int64_t start = now_ns();
    if (from.rcl_publish_(peer->publisher, &peer->out, NULL) != RCL_RET_OK)
        return FAILED;
    for (;;) {
        const int64_t left = start + timeout_ns - now_ns();
        if (left <= 0)
            return NO_ANSWER;
        const int got = take(peer, NULL, left);
        *took_ns = now_ns() - start;
        if (got == FAILED)
            return got;
        if (got == ANSWERED && peer->in.header.stamp.sec == number)
            return got;
    }
}

/* Copy the last answer's first `room` values; returns how many it has. */
size_t answer(const Peer *peer, double *values, size_t room)
{
    const size_t count = peer->in.position.size;
    memcpy(values, peer->in.position.data, (count < room ? count : room) * sizeof *values);
    return count;
}

/* Ask `calls` times at a fixed rate, with the rows in turn and stamps from `number` on. */
int ask_block(Peer *peer, const double *rows, long row_count, long calls, int32_t number,
              int64_t period_ns, int64_t timeout_ns, int64_t *took_ns)
{
    int64_t due = now_ns();
    for (long i = 0; i < calls; i++) {
        const double *row = rows + (i % row_count) * (long)peer->out.position.size;
        const int got = ask(peer, row, number + (int32_t)i, timeout_ns, &took_ns[i]);
        if (got != ANSWERED)
            return got;
        const int64_t now = now_ns();
        due = due + period_ns > now ? due + period_ns : now;
        const struct timespec until = {due / 1000000000, due % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
    }
    return ANSWERED;
}

/* Publish `calls` messages, one a period, each with a stamp of its own, and note when the answers
 * that come meanwhile were published, ns of the wall clock. Returns how many came, -1 if it failed.
 */
long follow(Peer *peer, long calls, int32_t number, int64_t period_ns, int64_t *published_ns,
            long room)
{
    long count = 0;
    int64_t due = now_ns();
    for (long i = 0; i < calls; i++) {
        peer->out.header.stamp.sec = number + (int32_t)i;
        if (from.rcl_publish_(peer->publisher, &peer->out, NULL) != RCL_RET_OK)
            return -1;
        due += period_ns;
        for (int64_t left; (left = due - now_ns()) > 0;) {
            const int got = take(peer, NULL, left);
            if (got == FAILED)
                return -1;
            if (got == ANSWERED && count < room)
                published_ns[count++] = peer->info.source_timestamp;
        }
    }
    return count;
}

/* Wake up `calls` times once a period, and note how late, ns: what `cyclictest` does. */
void wake_up(long calls, int64_t period_ns, int64_t *late_ns)
{
    int64_t due = now_ns();
    for (long i = 0; i < calls; i++) {
        due += period_ns;
        const struct timespec until = {due / 1000000000, due % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
        late_ns[i] = now_ns() - due;
    }
}
