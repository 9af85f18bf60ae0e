/*
 * A disk that fails on purpose: loaded before the C library (LD_PRELOAD), it stands between a
 * program and the calls that touch files below one folder.
 *
 * FAULTS_UNDER    the folder; calls on other paths are passed on
 * FAULTS_CONTROL  a file of the numbers in `struct control`, mapped: the test changes the plan, and
 *                 reads the counts, while the program runs
 * FAULTS_DISK     a folder that holds, for each file, what a disk without power would hold of it:
 *                 what was written before its last sync that succeeded. What was written before a
 *                 sync that failed never gets there, as on Linux, where a later sync says nothing
 *                 about it.
 * FAULTS_TELL     if set, each call that fails is told on standard error
 * FAULTS_REFUSE   "name:errno,...": system calls that the kernel itself shall refuse, for those
 *                 that do not go through the C library (fallocate, statx)
 *
 * Stores through a mapping are seen by neither: what they leave on a disk is never believed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind {
    OPEN = 1, READ = 2, WRITE = 4, SYNC = 8, SIZE = 16, RENAME = 32, REMOVE = 64, MAKE = 128,
    MAP = 256, MSYNC = 512, MODE = 1024, LIST = 2048
};

/* As in shim.rs, field by field. */
struct control {
    long kinds;    /* which calls are counted, and may fail */
    long counted;  /* so many were, since this was last set to 0 */
    long from;     /* the first that fails, from 1; 0: none */
    long times;    /* so many fail in a row; -1: all from there on */
    long error;    /* with this errno; if it is less than 0 the process is killed instead */
    long is_short; /* they do not fail: they write or read less than was asked */
    long delay_us; /* each call of these kinds first takes so long */
    long frozen;   /* calls of these kinds wait until this is 0 */
    long injected; /* so many failed, or were short */
    long waiting;  /* so many wait now because of `frozen` */
};

static struct control nothing, *control = &nothing;
static const char *under, *disk, *tells;
static size_t under_len;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        dprintf(2, "shim: there is no %s\n", name);
        _exit(99);
    }
    return found;
}

/* ---- which calls ------------------------------------------------------------------------- */

static int is_ours(const char *path) {
    return under && strncmp(path, under, under_len) == 0 &&
           (path[under_len] == '/' || path[under_len] == 0 || path[under_len] == ' ');
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

static int is_ours_at(int fd, const char *name) {
    char path[PATH_MAX];
    if (name && name[0] == '/') return is_ours(name);
    return fd != AT_FDCWD && path_of(fd, path) && is_ours(path);
}

static int is_ours_fd(int fd) { return is_ours_at(fd, NULL); }

enum verdict { PASS, FAIL, SHORT };

/* What becomes of a call of this kind. */
static enum verdict judge(enum kind kind) {
    if (!(control->kinds & kind)) return PASS;
    if (control->delay_us) usleep((useconds_t)control->delay_us);
    if (control->frozen & kind) {
        __atomic_add_fetch(&control->waiting, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&control->frozen, __ATOMIC_SEQ_CST) & kind) usleep(500);
        __atomic_sub_fetch(&control->waiting, 1, __ATOMIC_SEQ_CST);
    }
    long number = __atomic_add_fetch(&control->counted, 1, __ATOMIC_SEQ_CST);
    long from = control->from, times = control->times;
    if (!from || number < from || (times >= 0 && number >= from + times)) return PASS;
    if (control->is_short && !(kind & (READ | WRITE))) return PASS;
    __atomic_add_fetch(&control->injected, 1, __ATOMIC_SEQ_CST);
    if (control->error < 0) kill(getpid(), SIGKILL);
    if (tells) dprintf(2, "call %ld, of kind %d, fails\n", number, kind);
    errno = (int)control->error;
    return control->is_short ? SHORT : FAIL;
}

static size_t cut(enum verdict verdict, size_t length) {
    return verdict == SHORT && length > 1 ? length / 2 : length;
}

/* ---- what a disk without power would hold ------------------------------------------------ */

struct range { dev_t device; ino_t inode; off_t from, length; };
static struct range *ranges;
static size_t ranges_len, ranges_max;
static pthread_mutex_t ranges_lock = PTHREAD_MUTEX_INITIALIZER;

static void written(int fd, off_t from, ssize_t length) {
    struct stat stat;
    if (!disk || length <= 0 || fstat(fd, &stat)) return;
    pthread_mutex_lock(&ranges_lock);
    if (ranges_len == ranges_max) {
        ranges_max = ranges_max ? ranges_max * 2 : 1024;
        ranges = realloc(ranges, ranges_max * sizeof *ranges);
        if (!ranges) abort();
    }
    ranges[ranges_len++] = (struct range){stat.st_dev, stat.st_ino, from, length};
    pthread_mutex_unlock(&ranges_lock);
}

/* The written ranges of a file reach the disk, or, if the sync failed, never do. */
static void synced(int fd, int is_good) {
    struct stat stat;
    char name[PATH_MAX], from_name[64];
    if (!disk || fstat(fd, &stat) || !S_ISREG(stat.st_mode)) return;
    int error = errno, from = -1, to = -1;
    if (is_good) {
        snprintf(name, sizeof name, "%s/%lu-%lu", disk, stat.st_dev, stat.st_ino);
        snprintf(from_name, sizeof from_name, "/proc/self/fd/%d", fd);
        to = REAL(open)(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        from = REAL(open)(from_name, O_RDONLY | O_CLOEXEC);
        if (to < 0 || from < 0 || REAL(ftruncate)(to, stat.st_size)) abort();
    }
    pthread_mutex_lock(&ranges_lock);
    size_t kept = 0;
    for (size_t at = 0; at < ranges_len; at++) {
        struct range range = ranges[at];
        if (range.device != stat.st_dev || range.inode != stat.st_ino) {
            ranges[kept++] = range;
            continue;
        }
        char bytes[65536];
        while (is_good && range.length > 0) {
            size_t most = range.length < (off_t)sizeof bytes ? (size_t)range.length : sizeof bytes;
            ssize_t got = REAL(pread)(from, bytes, most, range.from);
            if (got <= 0) break; /* cut off since */
            if (REAL(pwrite)(to, bytes, (size_t)got, range.from) != got) abort();
            range.from += got;
            range.length -= got;
        }
    }
    ranges_len = kept;
    pthread_mutex_unlock(&ranges_lock);
    if (to >= 0) close(to);
    if (from >= 0) close(from);
    errno = error;
}

/* ---- the calls --------------------------------------------------------------------------- */

#define OPENING(name)                                                                              \
    int name(const char *path, int flags, ...) {                                                   \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        if (is_ours(path) && judge(OPEN) == FAIL) return -1;                                       \
        return REAL(name)(path, flags, mode);                                                      \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name)                                                                           \
    int name(int at, const char *path, int flags, ...) {                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        if (is_ours_at(at, path) && judge(OPEN) == FAIL) return -1;                                \
        return REAL(name)(at, path, flags, mode);                                                  \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

ssize_t read(int fd, void *to, size_t length) {
    enum verdict verdict = is_ours_fd(fd) ? judge(READ) : PASS;
    return verdict == FAIL ? -1 : REAL(read)(fd, to, cut(verdict, length));
}

#define READING_AT(name, offset_type)                                                              \
    ssize_t name(int fd, void *to, size_t length, offset_type at) {                                \
        enum verdict verdict = is_ours_fd(fd) ? judge(READ) : PASS;                                \
        return verdict == FAIL ? -1 : REAL(name)(fd, to, cut(verdict, length), at);                \
    }
READING_AT(pread, off_t)
READING_AT(pread64, off64_t)

ssize_t write(int fd, const void *from, size_t length) {
    if (!is_ours_fd(fd)) return REAL(write)(fd, from, length);
    enum verdict verdict = judge(WRITE);
    if (verdict == FAIL) return -1;
    ssize_t done = REAL(write)(fd, from, cut(verdict, length));
    if (done > 0) written(fd, lseek(fd, 0, SEEK_CUR) - done, done);
    return done;
}

#define WRITING_AT(name, offset_type)                                                              \
    ssize_t name(int fd, const void *from, size_t length, offset_type at) {                        \
        if (!is_ours_fd(fd)) return REAL(name)(fd, from, length, at);                              \
        enum verdict verdict = judge(WRITE);                                                       \
        if (verdict == FAIL) return -1;                                                            \
        ssize_t done = REAL(name)(fd, from, cut(verdict, length), at);                             \
        written(fd, at, done);                                                                     \
        return done;                                                                               \
    }
WRITING_AT(pwrite, off_t)
WRITING_AT(pwrite64, off64_t)

#define SYNCING(name)                                                                              \
    int name(int fd) {                                                                             \
        if (!is_ours_fd(fd)) return REAL(name)(fd);                                                \
        int failed = judge(SYNC) == FAIL ? -1 : REAL(name)(fd);                                    \
        if (!failed || errno != EINTR) synced(fd, !failed);                                        \
        return failed;                                                                             \
    }
SYNCING(fsync)
SYNCING(fdatasync)

/* No promise that anything is on the disk: it only starts to be written. */
int sync_file_range(int fd, off64_t from, off64_t length, unsigned flags) {
    if (is_ours_fd(fd) && judge(SYNC) == FAIL) return -1;
    return REAL(sync_file_range)(fd, from, length, flags);
}

#define SIZING(name, offset_type)                                                                  \
    int name(int fd, offset_type length) {                                                         \
        if (is_ours_fd(fd) && judge(SIZE) == FAIL) return -1;                                      \
        return REAL(name)(fd, length);                                                             \
    }
SIZING(ftruncate, off_t)
SIZING(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    if ((is_ours(from) || is_ours(to)) && judge(RENAME) == FAIL) return -1;
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    return is_ours(path) && judge(REMOVE) == FAIL ? -1 : REAL(unlink)(path);
}

int rmdir(const char *path) {
    return is_ours(path) && judge(REMOVE) == FAIL ? -1 : REAL(rmdir)(path);
}

int unlinkat(int at, const char *path, int flags) {
    return is_ours_at(at, path) && judge(REMOVE) == FAIL ? -1 : REAL(unlinkat)(at, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    return is_ours(path) && judge(MAKE) == FAIL ? -1 : REAL(mkdir)(path, mode);
}

int fchmod(int fd, mode_t mode) {
    return is_ours_fd(fd) && judge(MODE) == FAIL ? -1 : REAL(fchmod)(fd, mode);
}

int chmod(const char *path, mode_t mode) {
    return is_ours(path) && judge(MODE) == FAIL ? -1 : REAL(chmod)(path, mode);
}

DIR *opendir(const char *path) {
    return is_ours(path) && judge(LIST) == FAIL ? NULL : REAL(opendir)(path);
}

struct dirent64 *readdir64(DIR *dir) {
    return is_ours_fd(dirfd(dir)) && judge(LIST) == FAIL ? NULL : REAL(readdir64)(dir);
}

#define MAPPING(name, offset_type)                                                                 \
    void *name(void *at, size_t length, int prot, int flags, int fd, offset_type from) {           \
        if (fd >= 0 && is_ours_fd(fd) && judge(MAP) == FAIL) return MAP_FAILED;                    \
        return REAL(name)(at, length, prot, flags, fd, from);                                      \
    }
MAPPING(mmap, off_t)
MAPPING(mmap64, off64_t)

/* Only files of ours are ever mapped to be synced. */
int msync(void *at, size_t length, int flags) {
    return judge(MSYNC) == FAIL ? -1 : REAL(msync)(at, length, flags);
}

/* ---- beginning --------------------------------------------------------------------------- */

static void refuse(const char *name, int error) {
    int number = !strcmp(name, "fallocate") ? SYS_fallocate
                 : !strcmp(name, "statx")   ? SYS_statx
                                            : -1;
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof *steps, steps};
    if (number < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        dprintf(2, "shim: cannot refuse %s\n", name);
        _exit(99);
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    if (!path) return;
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    void *mapped = fd < 0 ? MAP_FAILED
                          : REAL(mmap)(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED,
                                       fd, 0);
    if (mapped == MAP_FAILED) {
        dprintf(2, "shim: cannot map %s\n", path);
        _exit(99);
    }
    close(fd);
    control = mapped;
    disk = getenv("FAULTS_DISK");
    tells = getenv("FAULTS_TELL");
    under = getenv("FAULTS_UNDER");
    under_len = under ? strlen(under) : 0;
    char *refused = getenv("FAULTS_REFUSE"), *save = NULL;
    refused = refused ? strdup(refused) : NULL;
    for (char *one = refused ? strtok_r(refused, ",", &save) : NULL; one;
         one = strtok_r(NULL, ",", &save)) {
        char *colon = strchr(one, ':');
        if (!colon) _exit(99);
        *colon = 0;
        refuse(one, atoi(colon + 1));
    }
}
