/* Loaded into certd with LD_PRELOAD: to the thread that connects to one peer, the kernel refuses the time once, which the
 * standard library holds for impossible and answers with a panic. So one task panics for real, and no other.
 *
 *   BROKEN_CLOCK   the peer, address:port */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static __thread int broken;

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    static int (*next)(int, const struct sockaddr *, socklen_t);
    if (!next) next = (__typeof__(next))dlsym(RTLD_NEXT, "connect");
    const char *peer = getenv("BROKEN_CLOCK");
    if (peer && to->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)to;
        char name[64];
        snprintf(name, sizeof name, "%s:%d", inet_ntoa(in->sin_addr), ntohs(in->sin_port));
        broken = strcmp(name, peer) == 0;
    }
    return next(fd, to, size);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (__typeof__(next))dlsym(RTLD_NEXT, "clock_gettime");
    if (broken) {
        broken = 0;
        errno = EINVAL;
        return -1;
    }
    return next(clock, time);
}
