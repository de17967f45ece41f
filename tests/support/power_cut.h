/* A disk that loses its power: of what is below one folder, only that survives which an fsync has made sure of. A file that
 * was written since is as long as it was then; with KILL_AT_NAMES, names that were made, changed or removed since the last
 * fsync of their folder are as they were before. Disks do either, and anything between. */

static const char *cut_below;
static int cut_names;
static atomic_int dark;
/* Read: somebody changes something. Written: the power is gone. */
static pthread_rwlock_t power = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t notes = PTHREAD_MUTEX_INITIALIZER;

enum change { NONE, MADE, RENAMED, REMOVED, FOLDER_REMOVED };

#define MOST 8192
#define PATH 512

/* A change of a name that may be lost, and what was there before (a second link to it). */
static struct name {
    enum change change;
    char path[PATH], from[PATH], before[PATH];
} names[MOST];
static int name_count;

/* A file that was written since its last fsync, and how long it was then. */
static struct file {
    char path[PATH];
    off_t length;
} files[MOST];
static int file_count;

/* Other threads stand still where they are. */
static void wait_in_the_dark(void) {
    while (atomic_load(&dark)) pause();
}

static int below(const char *path) {
    return cut_below && strncmp(path, cut_below, strlen(cut_below)) == 0;
}

static void absolute(int at, const char *path, char *whole) {
    char link[64], folder[PATH] = "";
    if (path[0] != '/' && at != AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, folder, sizeof folder - 1);
        folder[length < 0 ? 0 : length] = 0;
    }
    if (snprintf(whole, PATH, "%s%s%s", folder, folder[0] ? "/" : "", path) >= PATH) abort();
}

static __thread struct name *changing;

static void change_begins(enum change change, int at, const char *path, const char *from) {
    int saved = errno;
    struct name noted = {.change = change};
    changing = NULL;
    absolute(at, path, noted.path);
    if (change == NONE || !below(noted.path)) return;
    if (from) absolute(at, from, noted.from);
    pthread_rwlock_rdlock(&power);
    pthread_mutex_lock(&notes);
    if (name_count == MOST) abort();
    changing = &names[name_count++];
    if (change == RENAMED || change == REMOVED) {
        snprintf(noted.before, sizeof noted.before, "%s.before-%d-%d", cut_below, (int)getpid(), name_count);
        /* No second link to a folder: certd removes empty ones alone, and renames to names that are free. */
        if (syscall(SYS_linkat, AT_FDCWD, noted.path, AT_FDCWD, noted.before, 0) != 0) noted.before[0] = 0;
    }
    *changing = noted;
    pthread_mutex_unlock(&notes);
    errno = saved;
}

static void forget(struct name *name) {
    if (name->before[0]) syscall(SYS_unlinkat, AT_FDCWD, name->before, 0);
    name->change = NONE;
    name->before[0] = 0;
}

static void change_ends(int done) {
    if (!changing) return;
    int saved = errno;
    pthread_mutex_lock(&notes);
    if (!done) {
        forget(changing);
    } else if (changing->change == RENAMED) {
        size_t length = strlen(changing->from);
        for (int i = 0; i < file_count; i++) {
            char *path = files[i].path, rest[PATH];
            if (strncmp(path, changing->from, length) != 0 || (path[length] && path[length] != '/')) continue;
            snprintf(rest, sizeof rest, "%s", path + length);
            if (snprintf(path, PATH, "%s%s", changing->path, rest) >= PATH) abort();
        }
    }
    pthread_mutex_unlock(&notes);
    pthread_rwlock_unlock(&power);
    errno = saved;
}

static void written(int fd, const char *path) {
    struct stat found;
    if (!below(path) || fstat(fd, &found) != 0) return;
    pthread_mutex_lock(&notes);
    int i = 0;
    while (i < file_count && strcmp(files[i].path, path) != 0) i++;
    if (i == MOST) abort();
    if (i == file_count) {
        file_count++;
        snprintf(files[i].path, PATH, "%s", path);
        files[i].length = found.st_size;
    }
    pthread_mutex_unlock(&notes);
}

/* Of a file what it holds, of a folder the names in it. */
static void synced(const char *path) {
    if (!cut_below) return;
    pthread_mutex_lock(&notes);
    for (int i = 0; i < file_count; i++) {
        if (strcmp(files[i].path, path) == 0) files[i--] = files[--file_count];
    }
    size_t length = strlen(path);
    for (int i = 0; i < name_count; i++) {
        char *name = names[i].path;
        if (strncmp(name, path, length) == 0 && name[length] == '/' && !strchr(name + length + 1, '/')) forget(&names[i]);
    }
    pthread_mutex_unlock(&notes);
}

static void remove_all(const char *path) {
    if (syscall(SYS_unlinkat, AT_FDCWD, path, 0) == 0 || (errno != EISDIR && errno != EPERM)) return;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char inner[2 * PATH];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        remove_all(inner);
    }
    if (folder) closedir(folder);
    syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

/* Everything that could not be sure to last is gone. Never returns to what was going on. */
static void cut_the_power(void) {
    atomic_store(&dark, 1);
    pthread_rwlock_wrlock(&power);
    for (int i = 0; i < file_count; i++) syscall(SYS_truncate, files[i].path, files[i].length);
    for (int i = name_count - 1; i >= 0; i--) {
        struct name *name = &names[i];
        if (cut_names && name->change == MADE) remove_all(name->path);
        if (cut_names && name->change == RENAMED) syscall(SYS_renameat, AT_FDCWD, name->path, AT_FDCWD, name->from);
        if (cut_names && name->change == FOLDER_REMOVED) syscall(SYS_mkdirat, AT_FDCWD, name->path, 0700);
        if (cut_names && name->before[0]) syscall(SYS_renameat, AT_FDCWD, name->before, AT_FDCWD, name->path);
        forget(name);
    }
}
