/* Loaded into certd with LD_PRELOAD: ends the process by SIGKILL at the N-th of its steps.
 *
 * A step is a call of libc that changes something outside the process: its files, its sockets. Each is a point before
 * the call; a write to a file is also a point with half of its bytes written, and what goes to a socket is also a point
 * when it was sent. One counter numbers the points of all threads, from 1.
 *
 *   KILL_AT       the point to end at; 0: none
 *   KILL_AT_LOG   where each point is noted before it is come to: "<number> before|half|after <call> <file or peer>"
 *   KILL_AT_CUTS  a folder: the power is cut too, and what was not synced there is lost (see power_cut.h)
 *   KILL_AT_NAMES also names that no fsync of their folder has made sure of
 *
 * It calls the kernel itself wherever the function of that name is one of those below. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "power_cut.h"

static atomic_int points;
static int kill_at;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("KILL_AT"), *log = getenv("KILL_AT_LOG");
    kill_at = at ? atoi(at) : 0;
    cut_below = getenv("KILL_AT_CUTS");
    cut_names = getenv("KILL_AT_NAMES") != NULL;
    log_fd = log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
}

static void end(void) {
    if (cut_below) cut_the_power();
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts and notes a point; true when it is the one to end at. */
static int reached(const char *when, const char *call, const char *object) {
    int saved = errno;
    int number = atomic_fetch_add(&points, 1) + 1;
    char line[1024];
    int length = snprintf(line, sizeof line, "%d %s %s %s\n", number, when, call, object);
    if (length >= (int)sizeof line) length = sizeof line - 1;
    syscall(SYS_write, log_fd, line, (size_t)length);
    errno = saved;
    return number == kill_at;
}

static void point(const char *when, const char *call, const char *object) {
    wait_in_the_dark();
    if (reached(when, call, object)) end();
}

enum kind { OTHER, FILE_OF_OURS, PEER };

/* What a descriptor leads to. Events, pipes and what was opened for us are no steps. */
static enum kind look(int fd, char *object, size_t size) {
    int saved = errno;
    enum kind kind = OTHER;
    struct stat found;
    if (fd <= 2 || fstat(fd, &found) != 0) {
        kind = OTHER;
    } else if (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) {
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(self, object, size - 1);
        object[length < 0 ? 0 : length] = 0;
        kind = FILE_OF_OURS;
    } else if (S_ISSOCK(found.st_mode)) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET) {
            snprintf(object, size, "%s:%d", inet_ntoa(peer.sin_addr), ntohs(peer.sin_port));
            kind = PEER;
        }
    }
    errno = saved;
    return kind;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* On a path: what it does to which name. */
#define ON_PATH(call, object, change, at, from, parameters, arguments) \
    int call parameters {                                              \
        point("before", #call, object);                                \
        change_begins(change, at, object, from);                       \
        int done = NEXT(call) arguments;                               \
        change_ends(done == 0);                                        \
        return done;                                                   \
    }
ON_PATH(rename, to, RENAMED, AT_FDCWD, from, (const char *from, const char *to), (from, to))
ON_PATH(mkdir, path, MADE, AT_FDCWD, NULL, (const char *path, mode_t mode), (path, mode))
ON_PATH(rmdir, path, FOLDER_REMOVED, AT_FDCWD, NULL, (const char *path), (path))
ON_PATH(unlink, path, REMOVED, AT_FDCWD, NULL, (const char *path), (path))
ON_PATH(unlinkat, path, flags & AT_REMOVEDIR ? FOLDER_REMOVED : REMOVED, at, NULL, (int at, const char *path, int flags),
        (at, path, flags))
ON_PATH(symlink, path, MADE, AT_FDCWD, NULL, (const char *target, const char *path), (target, path))
ON_PATH(chmod, path, NONE, AT_FDCWD, NULL, (const char *path, mode_t mode), (path, mode))
ON_PATH(link, to, MADE, AT_FDCWD, NULL, (const char *from, const char *to), (from, to))

/* On a descriptor. */
#define ON_FILE(call, fd, parameters, arguments)                                          \
    int call parameters {                                                                 \
        char object[512];                                                                 \
        enum kind kind = look(fd, object, sizeof object);                                 \
        if (kind == FILE_OF_OURS) point("before", #call, object);                         \
        int done = NEXT(call) arguments;                                                  \
        if (kind == FILE_OF_OURS && done == 0 && strstr(#call, "sync")) synced(object);   \
        return done;                                                                      \
    }
ON_FILE(fsync, fd, (int fd), (fd))
ON_FILE(fdatasync, fd, (int fd), (fd))
ON_FILE(fchmod, fd, (int fd, mode_t mode), (fd, mode))
ON_FILE(flock, fd, (int fd, int operation), (fd, operation))
ON_FILE(ftruncate, fd, (int fd, off_t length), (fd, length))
ON_FILE(ftruncate64, fd, (int fd, off64_t length), (fd, length))

/* Opening makes a file, or is none of ours. */
#define OPEN(call, at, parameters, first)                     \
    int call parameters {                                     \
        va_list more;                                         \
        va_start(more, flags);                                \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
        va_end(more);                                         \
        if (flags & O_CREAT) point("before", #call, path);    \
        struct stat found;                                    \
        int makes = flags & O_CREAT && syscall(SYS_newfstatat, at, path, &found, AT_SYMLINK_NOFOLLOW) != 0; \
        change_begins(makes ? MADE : NONE, at, path, NULL);   \
        int fd = (int)syscall(SYS_openat, at, path, flags, mode); \
        change_ends(fd >= 0);                                 \
        return fd;                                            \
    }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), path)
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), path)
OPEN(openat, at, (int at, const char *path, int flags, ...), at)
OPEN(openat64, at, (int at, const char *path, int flags, ...), at)

ssize_t write(int fd, const void *bytes, size_t length) {
    char object[512];
    enum kind kind = look(fd, object, sizeof object);
    if (kind != OTHER) point("before", "write", object);
    if (kind == FILE_OF_OURS) written(fd, object);
    if (kind == FILE_OF_OURS && reached("half", "write", object)) {
        syscall(SYS_write, fd, bytes, length / 2);
        end();
    }
    ssize_t done = syscall(SYS_write, fd, bytes, length);
    if (kind == PEER) point("after", "write", object);
    return done;
}

/* To a peer. */
#define SEND(call, fd, parameters, arguments)                       \
    ssize_t call parameters {                                       \
        char object[512];                                           \
        enum kind kind = look(fd, object, sizeof object);           \
        if (kind != OTHER) point("before", #call, object);          \
        ssize_t done = NEXT(call) arguments;                        \
        if (kind != OTHER) point("after", #call, object);           \
        return done;                                                \
    }
SEND(writev, fd, (int fd, const struct iovec *parts, int count), (fd, parts, count))
SEND(send, fd, (int fd, const void *bytes, size_t length, int flags), (fd, bytes, length, flags))
SEND(sendto, fd,
     (int fd, const void *bytes, size_t length, int flags, const struct sockaddr *to, socklen_t size),
     (fd, bytes, length, flags, to, size))
SEND(sendmsg, fd, (int fd, const struct msghdr *message, int flags), (fd, message, flags))

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    const struct sockaddr_in *peer = (const struct sockaddr_in *)to;
    if (peer->sin_family == AF_INET) {
        char object[64];
        snprintf(object, sizeof object, "%s:%d", inet_ntoa(peer->sin_addr), ntohs(peer->sin_port));
        point("before", "connect", object);
    }
    return NEXT(connect)(fd, to, size);
}

int shutdown(int fd, int how) {
    char object[512];
    if (look(fd, object, sizeof object) == PEER) point("before", "shutdown", object);
    return NEXT(shutdown)(fd, how);
}
