/* Damaged files and logs, and disks without space: a clear error or the same documents, never wrong ones, and nothing acknowledged is lost. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/api_db.h"

#define DOCUMENT_COUNT 300
#define IMAGE_LEN_MAX ((size_t) 8 << 20)

/* ---- files as bytes ---- */

struct image {
    char name[300];
    uint8_t *bytes;
    size_t len;
};

static void image_read(struct image *im, const char *path) {
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", path);
    im->bytes = malloc(IMAGE_LEN_MAX);
    ssize_t n = read(fd, im->bytes, IMAGE_LEN_MAX);
    cr_assert(n >= 0 && (size_t) n < IMAGE_LEN_MAX);
    im->len = (size_t) n;
    (void) snprintf(im->name, sizeof(im->name), "%s", strrchr(path, '/') + 1);
    (void) close(fd);
}

static void image_write(const struct image *im, const char *folder, size_t len) {
    char path[600];
    (void) snprintf(path, sizeof(path), "%s/%s", folder, im->name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert(fd >= 0 && write(fd, im->bytes, len) == (ssize_t) len);
    (void) close(fd);
}

static void remove_files(const struct folder *f) {
    char pattern[300];
    glob_t found;
    (void) snprintf(pattern, sizeof(pattern), "%s/*", f->path);
    if (glob(pattern, 0, NULL, &found) != 0) return;
    for (size_t i = 0; i < found.gl_pathc; i++) (void) unlink(found.gl_pathv[i]);
    globfree(&found);
}

/* ---- a database with two indexes ---- */

static void fill(elmo_t *db) {
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_t *specs[] = {doc_of("{key: {a: 1}}"), doc_of("{key: {tags: 1, _id: -1}, name: 'tags'}")};
    bson_error_t error;
    cr_assert(elmo_collection_create_indexes_with_opts(c, (const bson_t **) (void *) specs, 2, NULL, NULL, &error),
              "%s", error.message);
    for (int i = 0; i < DOCUMENT_COUNT; i++) {
        bson_t *d = doc_of("{_id: %d, a: %d, tags: ['t%d', 'u%d'], text: 'some words that take their place %d'}", i,
                           i * 7 % 101, i % 10, i % 7, i * i);
        cr_assert(elmo_collection_insert_one(c, d, NULL, NULL, &error), "%s", error.message);
        bson_destroy(d);
    }
    bson_destroy(specs[0]);
    bson_destroy(specs[1]);
    elmo_collection_destroy(c);
}

/* The documents as lines of JSON, read in three ways: 0 when all are the same, the error's code, or -1 when they differ. */
static int64_t read_by(elmo_t *db, const char *hint, bson_string_t *lines, int64_t *count) {
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    bson_t *filter = doc_of("{}"), *opts = doc_of("{sort: {_id: 1}, hint: %s}", hint);
    const bson_t *row;
    bson_error_t error;
    elmo_cursor_t *cursor = elmo_collection_find_with_opts(c, filter, opts);
    for (*count = 0; elmo_cursor_next(cursor, &row); ++*count) {
        char *json = bson_as_canonical_extended_json(row, NULL);
        bson_string_append(lines, json);
        bson_string_append(lines, "\n");
        bson_free(json);
    }
    int64_t code = 0;
    if (elmo_cursor_error(cursor, &error)) {
        code = error.code;
        cr_expect(error.message[0] != '\0');
    }
    elmo_cursor_destroy(cursor);
    elmo_collection_destroy(c);
    bson_destroy(filter);
    bson_destroy(opts);
    return code;
}

/* Reads everything, by the collection and by both indexes. What was read without an error must agree. */
static int64_t read_all(elmo_t *db, char **text, int64_t *count) {
    static const char *const hints[] = {"{$natural: 1}", "'a_1'", "'tags'"};
    int64_t code = 0;
    *text = NULL;
    for (int i = 0; i < 3 && code == 0; i++) {
        bson_string_t *lines = bson_string_new("");
        int64_t n;
        code = read_by(db, hints[i], lines, &n);
        char *read = bson_string_free(lines, false);
        if (code == 0 && *text == NULL) {
            *text = read;
            *count = n;
            continue;
        }
        if (code == 2 && i > 0 && n == 0) code = 0; /* a log that ends before the index was made */
        else if (code == 0) cr_expect_str_eq(read, *text, "index %d disagrees", i);
        bson_free(read);
    }
    return code;
}

static void ignore_fault(void *ctx, const char *text) {
    cr_expect(text[0] != '\0');
    ++*(int *) ctx;
}

/* How many places of a file are tried: more by ELMO_POSITIONS, a factor. */
static size_t positions(size_t n) {
    const char *factor = getenv("ELMO_POSITIONS");
    return factor != NULL ? n * (size_t) atoi(factor) : n;
}

struct outcome {
    int refused, failed, same, fewer;
};

/* Opens what stands in the folder and looks at everything. `whole`: the documents that ought to be there; with `may_lose_tail` a beginning of them will do. */
static void look(const struct folder *f, const char *opts, const char *whole, bool may_lose_tail, const char *what,
                 size_t at, struct outcome *o) {
    elmo_t *db;
    bson_error_t error;
    bson_t *options = doc_of("%s", opts);
    bool opened = elmo_open(f->file, options, &db, &error);
    bson_destroy(options);
    if (!opened) {
        cr_expect(error.code == 321 || error.code == 2 || error.code == 238, "%s at %zu: %u %s", what, at, error.code,
                  error.message);
        cr_expect(strstr(error.message, "elmo") != NULL, "the message names no file: %s", error.message);
        o->refused++;
        return;
    }
    char *text;
    int64_t count = 0, code = read_all(db, &text, &count);
    int told = 0;
    uint64_t faults = 0;
    bool checked = elmo_check(db, ignore_fault, &told, &faults, &error);
    cr_expect_eq((int) faults, told);
    if (code != 0) {
        cr_expect_eq(code, 321, "%s at %zu: %lld", what, at, (long long) code);
        cr_expect(!checked || faults != 0, "%s at %zu: reading fails, check finds nothing", what, at);
        o->failed++;
    } else if (strcmp(text, whole) == 0) {
        o->same++;
    } else {
        cr_expect(may_lose_tail && strncmp(text, whole, strlen(text)) == 0,
                  "%s at %zu: other documents than were written (%lld)", what, at, (long long) count);
        cr_expect(checked && faults == 0, "%s at %zu: half of something was recovered", what, at);
        o->fewer++;
    }
    bson_free(text);
    elmo_close(db);
}

Test(bad_input, a_damaged_file_is_an_error_or_harmless) {
    struct folder f;
    struct image im;
    struct outcome o = {0};
    char *whole;
    int64_t count;
    folder_make(&f);
    elmo_t *db = open_at(f.file, "{threads: 0}");
    fill(db);
    elmo_close(db);
    db = open_at(f.file, "{readOnly: true}");
    cr_assert_eq(read_all(db, &whole, &count), 0);
    cr_assert_eq(count, DOCUMENT_COUNT);
    elmo_close(db);
    image_read(&im, f.file);
    size_t step = im.len / positions(120) | 1;
    for (size_t at = 0, i = 0; at < im.len; at += i < 24 ? 3 : step, i++) { /* the head closely, then across */
        uint8_t bit = (uint8_t) (1u << (at % 8));
        im.bytes[at] ^= bit;
        remove_files(&f);
        image_write(&im, f.path, im.len);
        look(&f, i % 2 != 0 ? "{readOnly: true}" : "{threads: 0}", whole, false, "a bit of the file", at, &o);
        im.bytes[at] ^= bit;
    }
    cr_expect_gt(o.failed + o.refused, 10, "refused %d, failed %d, same %d", o.refused, o.failed, o.same);
    cr_expect_gt(o.same, 0);
    struct outcome cut = {0};
    for (size_t len = 0; len < im.len; len += im.len / positions(40) | 1) {
        remove_files(&f);
        image_write(&im, f.path, len);
        if (len == 0) continue; /* an empty file is a new database */
        look(&f, "{readOnly: true}", whole, false, "the file cut", len, &cut);
    }
    cr_expect_gt(cut.refused + cut.failed, 30);
    bson_free(whole);
    free(im.bytes);
    folder_remove(&f);
}

Test(bad_input, a_damaged_log_is_an_error_or_its_end) {
    struct folder f;
    struct image images[8];
    size_t image_count = 0;
    struct outcome flips = {0}, cuts = {0};
    char *whole, pattern[300];
    int64_t count;
    glob_t found;
    folder_make(&f);
    elmo_t *db = open_at(f.file, "{threads: 0}");
    fill(db);
    (void) snprintf(pattern, sizeof(pattern), "%s/*", f.path);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        image_read(&images[image_count++], found.gl_pathv[i]); /* as a crash would leave them */
    globfree(&found);
    cr_assert_eq(read_all(db, &whole, &count), 0);
    cr_assert_eq(count, DOCUMENT_COUNT);
    elmo_close(db);
    for (size_t k = 0; k < image_count; k++) {
        struct image *im = &images[k];
        if (strstr(im->name, "-log-") == NULL) continue;
        size_t used = im->len;
        while (used > 0 && im->bytes[used - 1] == 0) used--; /* the rest is zeros made ahead */
        if (used == 0) continue;
        for (size_t at = 0, i = 0; at < used + 100 && at < im->len; at += i < 40 ? 3 : used / positions(100) | 1, i++) {
            uint8_t bit = (uint8_t) (1u << (at % 8));
            remove_files(&f);
            im->bytes[at] ^= bit;
            for (size_t j = 0; j < image_count; j++) image_write(&images[j], f.path, images[j].len);
            im->bytes[at] ^= bit;
            /* Only the newest records may count as torn: nothing later vouches for them. */
            look(&f, i % 2 != 0 ? "{readOnly: true}" : "{threads: 0}", whole, at > used * 9 / 10, "a bit of the log",
                 at, &flips);
        }
        for (size_t len = 0; len < used; len += used / positions(40) | 1) {
            remove_files(&f);
            for (size_t j = 0; j < image_count; j++) image_write(&images[j], f.path, j == k ? len : images[j].len);
            look(&f, "{threads: 0}", whole, true, "the log cut", len, &cuts);
        }
    }
    cr_expect_gt(flips.refused, 80, "refused %d, failed %d, same %d, fewer %d", flips.refused, flips.failed, flips.same,
                 flips.fewer);
    cr_expect_gt(cuts.fewer + cuts.refused, 30);
    remove_files(&f);
    for (size_t j = 0; j < image_count; j++) {
        if (strstr(images[j].name, "-log-") == NULL) image_write(&images[j], f.path, images[j].len);
    }
    char message[504];
    cr_expect_eq(open_fails(f.file, NULL, message), 321, "a log that is needed and missing: %s", message);
    for (size_t j = 0; j < image_count; j++) free(images[j].bytes);
    bson_free(whole);
    folder_remove(&f);
}

/* ---- no space ---- */

/* Inserts documents of 20,000 bytes that do not compress until one is refused; answers how many were taken. */
static int insert_until_refused(elmo_collection_t *c, int from, bson_error_t *error) {
    uint64_t random = 88172645463325252u;
    for (int i = from;; i++) {
        uint8_t bytes[20000];
        bson_t doc = BSON_INITIALIZER;
        for (size_t k = 0; k < sizeof(bytes); k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            bytes[k] = (uint8_t) random;
        }
        BSON_APPEND_INT32(&doc, "_id", i);
        BSON_APPEND_BINARY(&doc, "b", BSON_SUBTYPE_BINARY, bytes, sizeof(bytes));
        bool ok = elmo_collection_insert_one(c, &doc, NULL, NULL, error);
        bson_destroy(&doc);
        if (!ok) return i;
        cr_assert_lt(i - from, 20000, "the disk never fills");
    }
}

Test(bad_input, a_file_at_its_limit_keeps_what_it_has_and_goes_on_after_deletes) {
    struct folder f;
    bson_error_t error;
    folder_make(&f);
    elmo_t *db = open_at(f.file, "{maxFileSizeMB: 6, writeBufferMB: 1}");
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    int n = insert_until_refused(c, 0, &error);
    cr_expect_eq(error.code, 14031, "%u %s", error.code, error.message);
    cr_expect_gt(n, 50);
    cr_expect_eq(documents_in(c, "{b: {$type: 'binData'}}"), n);
    assert_no_faults(db);
    elmo_collection_destroy(c);
    elmo_close(db);
    db = open_at(f.file, "{maxFileSizeMB: 12, writeBufferMB: 1}");
    c = elmo_get_collection(db, "test", "c");
    cr_expect_eq(documents_in(c, "{}"), n, "after reopening");
    int more = insert_until_refused(c, n, &error);
    cr_expect_gt(more, n, "there is room now");
    cr_expect_eq(error.code, 14031);
    elmo_collection_destroy(c);
    elmo_close(db);
    db = open_at(f.file, "{maxFileSizeMB: 16, writeBufferMB: 1}");
    c = elmo_get_collection(db, "test", "c");
    bson_t all = BSON_INITIALIZER;
    cr_assert(elmo_collection_delete_many(c, &all, NULL, NULL, &error), "%s", error.message);
    cr_expect(elmo_compact(db, &error), "%s", error.message);
    cr_expect_eq(documents_in(c, "{}"), 0);
    int again = insert_until_refused(c, 100000, &error) - 100000;
    cr_expect_gt(again, n, "the room of what was deleted is used again: %d", again);
    cr_expect_eq(documents_in(c, "{}"), again);
    assert_no_faults(db);
    elmo_collection_destroy(c);
    elmo_close(db);
    folder_remove(&f);
}

/* The child's files may not grow past a limit: its writes fail in the middle, as on a full disk. */
static void write_under_limit(const char *path, int pipe_fd) {
    struct rlimit limit = {3 << 20, RLIM_INFINITY};
    bson_error_t error;
    elmo_t *db;
    (void) signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || !elmo_open(path, NULL, &db, &error)) _exit(10);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    int n = insert_until_refused(c, 0, &error);
    int answer[2] = {n, (int) error.code};
    if (write(pipe_fd, answer, sizeof(answer)) != sizeof(answer)) _exit(11);
    if (elmo_collection_count_documents(c, NULL, NULL, NULL, &error) != n) _exit(12); /* reads go on */
    elmo_collection_destroy(c);
    elmo_close(db);
    _exit(0);
}

Test(bad_input, a_disk_that_fills_in_the_middle_of_a_write_loses_nothing_acknowledged) {
    struct folder f;
    int fds[2], answer[2] = {0, 0}, status;
    folder_make(&f);
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) write_under_limit(f.file, fds[1]);
    (void) close(fds[1]);
    cr_assert_eq(read(fds[0], answer, sizeof(answer)), (ssize_t) sizeof(answer));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
    cr_expect(answer[1] == 14031, "code %d", answer[1]);
    cr_expect_gt(answer[0], 10);
    elmo_t *db = open_at(f.file, NULL);
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    cr_expect_geq(documents_in(c, "{}"), answer[0]);
    cr_expect_leq(documents_in(c, "{}"), answer[0] + 1);
    cr_expect(insert_doc(c, "{_id: 'more'}", NULL), "there is room again");
    assert_no_faults(db);
    elmo_collection_destroy(c);
    elmo_close(db);
    (void) close(fds[0]);
    folder_remove(&f);
}

/* A file system of 12 MiB, for those who may mount one. */
Test(bad_input, a_full_file_system_is_an_error_until_there_is_room) {
    struct folder f;
    bson_error_t error;
    struct image ballast = {.name = "ballast", .len = 4 << 20};
    char path[300];
    folder_make(&f);
    if (mount("none", f.path, "tmpfs", 0, "size=12m") != 0) {
        folder_remove(&f);
        cr_skip("a file system cannot be mounted here");
    }
    ballast.bytes = calloc(1, ballast.len);
    image_write(&ballast, f.path, ballast.len);
    elmo_t *db = open_at(f.file, "{writeBufferMB: 1}");
    elmo_collection_t *c = elmo_get_collection(db, "test", "c");
    int n = insert_until_refused(c, 0, &error);
    cr_expect_eq(error.code, 14031, "%u %s", error.code, error.message);
    cr_expect_gt(n, 50);
    cr_expect_eq(documents_in(c, "{b: {$type: 'binData'}}"), n);
    (void) snprintf(path, sizeof(path), "%s/ballast", f.path);
    cr_assert_eq(unlink(path), 0);
    int more = insert_until_refused(c, n, &error);
    cr_expect_gt(more, n, "the same handle goes on when there is room: %s", error.message);
    cr_expect_eq(error.code, 14031, "%u %s", error.code, error.message);
    assert_no_faults(db);
    elmo_collection_destroy(c);
    elmo_close(db);
    db = open_at(f.file, "{readOnly: true}");
    c = elmo_get_collection(db, "test", "c");
    cr_expect_eq(documents_in(c, "{}"), more);
    assert_no_faults(db);
    elmo_collection_destroy(c);
    elmo_close(db);
    free(ballast.bytes);
    cr_assert_eq(umount(f.path), 0);
    folder_remove(&f);
}
