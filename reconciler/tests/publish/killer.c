// Kills the process before one of its changes to files below a folder. Logs each earlier change as a line of
// $DCP_TEST_KILL_LOG, if that is set.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long changes;

static int is_under(const char *path) {
    const char *folder = getenv("DCP_TEST_KILL_UNDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static void tell(const char *what, const char *path) {
    const char *log = getenv("DCP_TEST_KILL_LOG");
    int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;
    if (fd < 0) return;
    dprintf(fd, "%s %s\n", what, path);
    close(fd);
}

// Returns 1 if the process must end before this change.
static int is_due(const char *what, const char *path) {
    const char *at = getenv("DCP_TEST_KILL_AT");
    if (!at || !is_under(path)) return 0;
    if (__atomic_add_fetch(&changes, 1, __ATOMIC_SEQ_CST) == atol(at)) return 1;
    tell(what, path);
    return 0;
}

static int is_due_fd(const char *what, int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_due(what, path);
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    if ((flags & O_CREAT) && is_due("create", path)) end();
    return real(path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    if (fd > 2 && is_due_fd("write", fd)) {
        real(fd, bytes, count / 2);
        end();
    }
    return real(fd, bytes, count);
}

int fsync(int fd) {
    REAL(fsync);
    if (is_due_fd("fsync", fd)) end();
    return real(fd);
}

int fchmod(int fd, mode_t mode) {
    REAL(fchmod);
    if (is_due_fd("fchmod", fd)) end();
    return real(fd, mode);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (is_due("rename", to)) end();
    return real(from, to);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (is_due("mkdir", path)) end();
    return real(path, mode);
}

int rmdir(const char *path) {
    REAL(rmdir);
    if (is_due("rmdir", path)) end();
    return real(path);
}

int unlink(const char *path) {
    REAL(unlink);
    if (is_due("unlink", path)) end();
    return real(path);
}
