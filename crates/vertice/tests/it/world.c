/* What a test does to a process from outside: it sets the wall clock, and lets the disk fail.
 *
 * Preloaded into the binary under test. The first eight bytes of the file that WORLD names are the seconds by which
 * the wall clock is off; the next eight say how often syncing a file fails from now on: as the kernel does it, which
 * reports what it could not write once, and then says that all is well. Where WORLD_SYNCS_OF is set, only files whose
 * path has it in it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct world {
    int64_t clock_off_s;
    int64_t syncs_that_fail;
};

static volatile struct world *world;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WORLD");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        _exit(99);
    void *mapped = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        _exit(99);
    world = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *into) {
    int done = (int)syscall(SYS_clock_gettime, clock, into);
    if (done == 0 && world && clock == CLOCK_REALTIME)
        into->tv_sec += world->clock_off_s;
    return done;
}

static int is_meant(int file) {
    const char *wanted = getenv("WORLD_SYNCS_OF");
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = wanted ? readlink(link, path, sizeof path - 1) : 0;
    path[length > 0 ? length : 0] = 0;
    return !wanted || strstr(path, wanted);
}

static int sync_file(long call, int file) {
    if (world && world->syncs_that_fail > 0 && is_meant(file)) {
        world->syncs_that_fail -= 1;
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, file);
}

int fsync(int file) { return sync_file(SYS_fsync, file); }

int fdatasync(int file) { return sync_file(SYS_fdatasync, file); }
