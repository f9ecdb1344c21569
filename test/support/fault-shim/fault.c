/*
 * Makes chosen file operations fail, for tests: LD_PRELOAD=fault.so SIDEKEY_FAULT_DIR=<directory>
 * SIDEKEY_FAULT_CONTROL=<file>. Calls that open for anything, write, sync, truncate, rename, link or unlink something
 * at or below the directory are counted in the control file, which is shared memory: whoever writes it (test/support/
 * fault-control.ts) arms the next fault, also from another process and while this one runs.
 *
 * Not seen: reads, and what is written through a mapping (SQLite's -shm file).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The layout that fault-control.ts writes; all numbers are in the machine's own byte order. */
enum { TRACE = 8192 };
struct control {
  uint32_t count;   /* calls since it was last set to zero */
  uint32_t at;      /* the call that fails, from 1; 0 for none */
  uint32_t mode;
  uint32_t persist; /* 1: all calls from `at` on fail */
  uint32_t fired;
  uint32_t reserved[11];
  uint8_t trace[TRACE]; /* what call n was: operation * 16 + kind of file */
};

enum mode { KILL = 1, KILL_AFTER, EIO_MODE, ENOSPC_MODE, SHORT_MODE, TORN };
enum operation { OPEN, CREATE, WRITE, SYNC, TRUNCATE, RENAME, LINK, UNLINK, MKDIR };
enum kind { OTHER, DATABASE, LOG, SHARED, ANCHOR, KEY, DIRECTORY };
enum verdict { PASS, FAIL, HALF, DIE_AFTER };

static struct control *control;
static char root[PATH_MAX];
static size_t root_length;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
  const char *directory = getenv("SIDEKEY_FAULT_DIR");
  const char *path = getenv("SIDEKEY_FAULT_CONTROL");
  if (directory == NULL || path == NULL || strlen(directory) >= sizeof root) return;
  strcpy(root, directory);
  root_length = strlen(root);
  int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (shared != MAP_FAILED) control = shared;
}

static int inside(const char *path) {
  return control != NULL && strncmp(path, root, root_length) == 0 &&
         (path[root_length] == '/' || path[root_length] == '\0');
}

/* The absolute path of `path` as openat and its kin take it; not resolved further. */
static const char *absolute(int at, const char *path, char *buffer) {
  if (path == NULL) return "";
  if (path[0] == '/') return path;
  char link[64];
  if (at == AT_FDCWD) strcpy(link, "/proc/self/cwd");
  else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  ssize_t length = readlink(link, buffer, PATH_MAX - 1);
  if (length < 0) return "";
  snprintf(buffer + length, (size_t)(PATH_MAX - length), "/%s", path);
  return buffer;
}

static const char *path_of(int fd, char *buffer) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, buffer, PATH_MAX - 1);
  if (length < 0) return "";
  buffer[length] = '\0';
  return buffer;
}

static enum kind kind_of(const char *path) {
  struct stat found;
  if (strstr(path, ".anchor") != NULL) return ANCHOR;
  if (strstr(path, ".key") != NULL) return KEY;
  if (strstr(path, "-wal") != NULL) return LOG;
  if (strstr(path, "-shm") != NULL) return SHARED;
  if (strstr(path, ".db") != NULL) return DATABASE;
  return stat(path, &found) == 0 && S_ISDIR(found.st_mode) ? DIRECTORY : OTHER;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static enum verdict decide(enum operation operation, const char *path) {
  if (!inside(path)) return PASS;
  uint32_t n = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (n <= TRACE) control->trace[n - 1] = (uint8_t)(operation * 16 + kind_of(path));
  uint32_t at = control->at;
  enum mode mode = control->mode;
  if (mode == TORN && at != 0 && n == at + 1 && operation == WRITE && n <= TRACE && control->trace[at - 1] >> 4 == WRITE) {
    errno = ENOSPC;
    return FAIL;
  }
  if (at == 0 || n < at || (n > at && !control->persist)) return PASS;
  /* A disk that stays full still lets files be opened and removed. */
  if (mode == ENOSPC_MODE && control->persist && (operation == OPEN || operation == UNLINK)) return PASS;
  __atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST);
  if (mode == KILL) die();
  if (mode == KILL_AFTER) return DIE_AFTER;
  errno = mode == ENOSPC_MODE ? ENOSPC : EIO;
  if (mode == SHORT_MODE || mode == TORN) return operation == WRITE ? HALF : PASS;
  return FAIL;
}

/* Runs `call` as the verdict says; for everything but writes. */
#define APPLY(operation, path, call)              \
  do {                                            \
    enum verdict verdict = decide(operation, path); \
    if (verdict == FAIL) return -1;               \
    __typeof__(call) result = call;               \
    if (verdict == DIE_AFTER) die();              \
    return result;                                \
  } while (0)

/* The same for a write of `size` bytes, of which only half may be written. */
#define APPLY_WRITE(fd, size, whole, half)             \
  do {                                                 \
    char buffer[PATH_MAX];                             \
    enum verdict verdict = decide(WRITE, path_of(fd, buffer)); \
    if (verdict == FAIL) return -1;                    \
    if (verdict == HALF && (size) > 1) return half;    \
    ssize_t result = whole;                            \
    if (verdict == DIE_AFTER) die();                   \
    return result;                                     \
  } while (0)

#define MODE_OF(flags)                                     \
  mode_t mode = 0;                                         \
  if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
    va_list more;                                          \
    va_start(more, flags);                                 \
    mode = va_arg(more, mode_t);                           \
    va_end(more);                                          \
  }
#define OPENING(flags) ((flags) & O_CREAT ? CREATE : OPEN)

#define DEFINE_OPEN(name)                                                                   \
  int name(const char *path, int flags, ...) {                                              \
    char buffer[PATH_MAX];                                                                  \
    MODE_OF(flags)                                                                          \
    APPLY(OPENING(flags), absolute(AT_FDCWD, path, buffer), REAL(name)(path, flags, mode)); \
  }
#define DEFINE_OPENAT(name)                                                               \
  int name(int at, const char *path, int flags, ...) {                                    \
    char buffer[PATH_MAX];                                                                \
    MODE_OF(flags)                                                                        \
    APPLY(OPENING(flags), absolute(at, path, buffer), REAL(name)(at, path, flags, mode)); \
  }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

ssize_t write(int fd, const void *data, size_t size) {
  APPLY_WRITE(fd, size, REAL(write)(fd, data, size), REAL(write)(fd, data, size / 2));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  APPLY_WRITE(fd, size, REAL(pwrite)(fd, data, size, at), REAL(pwrite)(fd, data, size / 2, at));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  APPLY_WRITE(fd, size, REAL(pwrite64)(fd, data, size, at), REAL(pwrite64)(fd, data, size / 2, at));
}

/* Half of several buffers: the first half of the first one, so that something is missing however many there are. */
static struct iovec half_of(const struct iovec *parts, int count) {
  struct iovec half = {NULL, 0};
  if (count > 0) half = (struct iovec){parts[0].iov_base, parts[0].iov_len / 2};
  return half;
}
static size_t size_of(const struct iovec *parts, int count) {
  size_t size = 0;
  for (int i = 0; i < count; i++) size += parts[i].iov_len;
  return size;
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  struct iovec half = half_of(parts, count);
  APPLY_WRITE(fd, size_of(parts, count), REAL(writev)(fd, parts, count), REAL(writev)(fd, &half, 1));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  struct iovec half = half_of(parts, count);
  APPLY_WRITE(fd, size_of(parts, count), REAL(pwritev)(fd, parts, count, at), REAL(pwritev)(fd, &half, 1, at));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  struct iovec half = half_of(parts, count);
  APPLY_WRITE(fd, size_of(parts, count), REAL(pwritev64)(fd, parts, count, at), REAL(pwritev64)(fd, &half, 1, at));
}

/* No power is cut in these tests, so below the directory nothing waits for the disk. */
int fsync(int fd) {
  char buffer[PATH_MAX];
  const char *path = path_of(fd, buffer);
  APPLY(SYNC, path, inside(path) ? 0 : REAL(fsync)(fd));
}
int fdatasync(int fd) {
  char buffer[PATH_MAX];
  const char *path = path_of(fd, buffer);
  APPLY(SYNC, path, inside(path) ? 0 : REAL(fdatasync)(fd));
}
int ftruncate(int fd, off_t size) {
  char buffer[PATH_MAX];
  APPLY(TRUNCATE, path_of(fd, buffer), REAL(ftruncate)(fd, size));
}
int ftruncate64(int fd, off64_t size) {
  char buffer[PATH_MAX];
  APPLY(TRUNCATE, path_of(fd, buffer), REAL(ftruncate64)(fd, size));
}

/* What has two names counts as the new one. */
int rename(const char *from, const char *to) {
  char buffer[PATH_MAX];
  APPLY(RENAME, absolute(AT_FDCWD, to, buffer), REAL(rename)(from, to));
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
  char buffer[PATH_MAX];
  APPLY(RENAME, absolute(to_at, to, buffer), REAL(renameat)(from_at, from, to_at, to));
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
  char buffer[PATH_MAX];
  APPLY(RENAME, absolute(to_at, to, buffer), REAL(renameat2)(from_at, from, to_at, to, flags));
}
int link(const char *from, const char *to) {
  char buffer[PATH_MAX];
  APPLY(LINK, absolute(AT_FDCWD, to, buffer), REAL(link)(from, to));
}
int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
  char buffer[PATH_MAX];
  APPLY(LINK, absolute(to_at, to, buffer), REAL(linkat)(from_at, from, to_at, to, flags));
}
int unlink(const char *path) {
  char buffer[PATH_MAX];
  APPLY(UNLINK, absolute(AT_FDCWD, path, buffer), REAL(unlink)(path));
}
int unlinkat(int at, const char *path, int flags) {
  char buffer[PATH_MAX];
  APPLY(UNLINK, absolute(at, path, buffer), REAL(unlinkat)(at, path, flags));
}
int remove(const char *path) {
  char buffer[PATH_MAX];
  APPLY(UNLINK, absolute(AT_FDCWD, path, buffer), REAL(remove)(path));
}
int mkdir(const char *path, mode_t mode) {
  char buffer[PATH_MAX];
  APPLY(MKDIR, absolute(AT_FDCWD, path, buffer), REAL(mkdir)(path, mode));
}
