/* A monotonic clock in nanoseconds. */
#ifndef QPOLICY_KERNEL_CLOCK_H
#define QPOLICY_KERNEL_CLOCK_H

#ifdef _WIN32
#include <windows.h>
#else
#include <time.h>
#endif

static long long now_ns(void) {
#ifdef _WIN32
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (long long)((double)count.QuadPart * 1e9 / (double)frequency.QuadPart);
#else
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long long)time.tv_sec * 1000000000 + time.tv_nsec;
#endif
}

#endif
