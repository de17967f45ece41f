/* Moves the wall clock of every program into which it is loaded by MOVED_BY seconds, which is set when it is compiled.
 *
 * tests/moved_clock.sh names it in the /etc/ld.so.preload of a mount namespace, so that programs get it that start with an
 * empty environment, or as root through sudo. Those that ask the C library find these functions before its own. Go programs
 * (Pebble, Caddy) ask the kernel's functions (vdso(7)) without the C library; they are shown a copy of the table that
 * names these, where clock_gettime is the one below and there is no other. Clocks that only count (CLOCK_MONOTONIC) go as
 * they went, and files keep the kernel's time. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define CLOCK_OF_THE_KERNEL "__vdso_clock_gettime"
static long ask(long clock, struct timespec *into) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_clock_gettime), "D"(clock), "S"(into) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
#define CLOCK_OF_THE_KERNEL "__kernel_clock_gettime"
static long ask(long clock, struct timespec *into) {
    register long number __asm__("x8") = SYS_clock_gettime;
    register long result __asm__("x0") = clock;
    register struct timespec *to __asm__("x1") = into;
    __asm__ volatile("svc 0" : "+r"(result) : "r"(number), "r"(to) : "memory");
    return result;
}
#else
#error "written for x86-64 and arm64"
#endif

/* Runs on whatever stack a Go program calls the kernel's functions on: without errno, and nothing of the C library. */
static long moved(long clock, struct timespec *into) {
    long result = ask(clock, into);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) into->tv_sec += MOVED_BY;
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *into) {
    long result = moved(clock, into);
    if (result == 0) return 0;
    errno = (int)-result;
    return -1;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec now;
    moved(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    if (zone) memset(zone, 0, sizeof(struct timezone));
    return 0;
}

time_t time(time_t *into) {
    struct timespec now;
    moved(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *into, int base) {
    if (base != TIME_UTC) return 0;
    moved(CLOCK_REALTIME, into);
    return base;
}

static void fail(const char *what) {
    fprintf(stderr, "moved_clock: %s\n", what);
    _exit(127); /* a program that went by the true time would prove nothing */
}

/* The kernel's table, copied: it cannot be written to (mseal(2)). Symbols are found by their distance from the copy. */
static const char *copy_with_our_clock(const char *kernel) {
    const ElfW(Ehdr) *head = (const void *)kernel;
    const ElfW(Shdr) *sections = (const void *)(kernel + head->e_shoff);
    size_t size = head->e_shoff + (size_t)head->e_shnum * sizeof *sections;
    char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) fail("no memory");
    memcpy(copy, kernel, size);
    int replaced = 0;
    for (int n = 0; n < head->e_shnum; n++) {
        if (sections[n].sh_type != SHT_DYNSYM) continue;
        ElfW(Sym) *symbols = (void *)(copy + sections[n].sh_offset);
        const char *names = kernel + sections[sections[n].sh_link].sh_offset;
        for (size_t s = 0; s < sections[n].sh_size / sizeof *symbols; s++) {
            if (strcmp(names + symbols[s].st_name, CLOCK_OF_THE_KERNEL) == 0) {
                symbols[s].st_value = (uintptr_t)moved - (uintptr_t)copy;
                replaced++;
            } else {
                symbols[s].st_shndx = SHN_UNDEF;
            }
        }
    }
    if (replaced != 1) fail("the kernel's functions have other names");
    return copy;
}

__attribute__((constructor)) static void show_our_clock(int count, char **arguments, char **environment) {
    (void)count, (void)arguments;
    while (*environment) environment++;
    for (ElfW(auxv_t) *entry = (void *)(environment + 1); entry->a_type != AT_NULL; entry++) {
        if (entry->a_type == AT_SYSINFO_EHDR) entry->a_un.a_val = (uintptr_t)copy_with_our_clock((void *)entry->a_un.a_val);
    }
}
