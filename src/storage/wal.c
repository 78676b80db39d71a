/* The writing side of the log; see wal.h. Bytes: wal_file.h. Reading: wal_replay.c.
 *
 *   old ... (needed until forgotten) ── current (takes records) ── prepared (no records yet)      spare (to be used again)
 *
 *   W1  Records stand in a file, and over the files, in the order of their LSNs, without gaps.
 *   W2  `durable` only rises past a record when every file that has records up to it was synced after they were written, or
 *       was forgotten: then they are in segments.
 *   W3  A file is named in no superblock before its header, its first zeros and its name are durable.
 *   W4  A file is renamed or unlinked only when two superblocks in a row did without it.
 *   W5  Zeros (or stale bytes) lie ahead of the records, so that most syncs do not change the file's length.
 *
 * Threads: `admin` is held by rotate, prepare and forget from end to end. `lock` guards the rest, for the time of one write
 * to the system's cache; never over a sync. One thread at a time syncs (is_syncing), others wait at `synced`; whoever finds
 * its LSN still not durable becomes the next to sync, for all that were appended meanwhile. Order: admin, lock. */
#include "storage/wal.h"

#include <assert.h>
#include <inttypes.h>

#include "base/buf.h"
#include "os/thread.h"
#include "storage/wal_file.h"

#define FILE_LEN_DEFAULT ((uint64_t) 64 << 20)
#define ZERO_STEP_DEFAULT ((uint64_t) 1 << 20)
#define GATHER_KEPT_MAX ((size_t) 1 << 20) /* a longer buffer is given back after its record */

struct log_file {
    struct log_file *next; /* newer */
    struct file *file;
    struct wal_header header;
    uint64_t len;      /* where the next record goes */
    uint64_t ready_to; /* zeros or stale bytes up to here */
    bool is_dirty;     /* has records that no sync was begun for */
    bool is_condemned; /* the newest superblock does without it */
};

struct wal {
    struct env *env;
    const struct mem *mem;
    char *path; /* real path of the database */
    struct wal_opts opts;
    uint8_t uuid[16];
    struct mutex admin, lock;
    struct cond synced;
    struct log_file *oldest, *current, *prepared; /* oldest ... current is one list */
    struct log_file *spare;
    uint32_t last_number;
    uint64_t last_lsn, durable;
    bool is_syncing;
    bool has_failed;
    struct err failure;
    struct buf gather; /* the record being written, in one piece */
};

/* --- making files --- */

static void free_log(struct wal *w, struct log_file *log) {
    if (log == NULL) return;
    file_close(log->file);
    mem_delete(w->mem, log);
}

/* Zeros in [from, to). */
static status write_zeros(struct file *f, uint64_t from, uint64_t to, struct err *err) {
    static const uint8_t zeros[64 * 1024];
    while (from < to) {
        size_t part = to - from < sizeof(zeros) ? (size_t) (to - from) : sizeof(zeros);
        TRY(file_write(f, from, zeros, part, err));
        from += part;
    }
    return ST_OK;
}

/* A new number, id and salt. */
static void begin_header(struct wal *w, uint32_t n, struct wal_header *h) {
    uint64_t chance[2];
    *h = (struct wal_header){.first_lsn = w->last_lsn + 1, .created_ms = w->env->ops->now_ms(w->env)};
    w->env->ops->random(w->env, chance, sizeof(chance));
    memcpy(h->uuid, w->uuid, sizeof(h->uuid));
    h->id = (chance[0] & ~(uint64_t) WAL_NUMBER_MAX) | n;
    h->salt = chance[1];
    w->env->ops->process_name(w->env, h->holder, sizeof(h->holder));
}

static status open_new(struct wal *w, struct log_file *log, const char *path, struct err *err) {
    TRY(env_open(w->env, path, FILE_CREATE | FILE_EXCLUSIVE, &log->file, err));
    uint64_t ready_to = WAL_HEADER_LEN + w->opts.zero_step;
    TRY(log->file->ops->preallocate(log->file, 0, ready_to, err));
    TRY(write_zeros(log->file, WAL_HEADER_LEN, ready_to, err));
    log->ready_to = ready_to;
    return ST_OK;
}

/* Renames the spare file and takes it over. */
static status open_spare(struct wal *w, struct log_file *log, const char *path, struct err *err) {
    char *old = wal_path_new(w->mem, w->path, wal_number_of(w->spare->header.id));
    if (old == NULL) return RAISE(err, ST_NOMEM, "log of %s", w->path);
    status st = w->env->ops->rename(w->env, old, path, err);
    mem_free(w->mem, old, wal_path_len(w->path));
    TRY(st);
    log->file = w->spare->file;
    w->spare->file = NULL;
    free_log(w, w->spare);
    w->spare = NULL;
    return log->file->ops->size(log->file, &log->ready_to, err);
}

/* Makes a file that is ready for records: W3 holds when it returns. The caller holds admin (or is alone). */
static status new_log(struct wal *w, struct log_file **out, struct err *err) {
    uint8_t bytes[WAL_HEADER_LEN];
    uint32_t n = w->last_number % WAL_NUMBER_MAX + 1;
    struct log_file *log = mem_new(w->mem, struct log_file);
    char *path = wal_path_new(w->mem, w->path, n);
    status st = ST_OK;
    if (log == NULL || path == NULL) {
        st = RAISE(err, ST_NOMEM, "log of %s", w->path);
        goto out;
    }
    w->last_number = n; /* given once, even if what follows fails */
    mutex_lock(&w->lock);
    begin_header(w, n, &log->header);
    mutex_unlock(&w->lock);
    log->len = WAL_HEADER_LEN;
    st = w->spare != NULL ? open_spare(w, log, path, err) : open_new(w, log, path, err);
    if (st != ST_OK) goto out;
    wal_header_encode(&log->header, bytes);
    TRY_OUT(file_write(log->file, 0, bytes, sizeof(bytes), err));
    TRY_OUT(file_sync(log->file, err));
    TRY_OUT(w->env->ops->sync_dir(w->env, path, err));
    if (log->ready_to < WAL_HEADER_LEN) log->ready_to = WAL_HEADER_LEN;
    *out = log;
    log = NULL;
out:
    if (log != NULL && log->file != NULL) (void) w->env->ops->unlink(w->env, path, NULL);
    free_log(w, log);
    mem_free(w->mem, path, wal_path_len(w->path));
    return st;
}

/* --- opening --- */

/* Takes up a log file that stands there already, so that wal_forget may deal with it. Its records were replayed, perhaps out
 * of the system's cache: from now on they count as durable, so they are made so. */
static status adopt(struct wal *w, uint32_t n, struct log_file ***tail, struct err *err) {
    uint8_t bytes[WAL_HEADER_LEN];
    char *path = wal_path_new(w->mem, w->path, n);
    struct log_file *log = mem_new(w->mem, struct log_file);
    uint64_t size = 0;
    status st = ST_OK;
    if (path == NULL || log == NULL) {
        st = RAISE(err, ST_NOMEM, "log of %s", w->path);
        goto out;
    }
    TRY_OUT(env_open(w->env, path, 0, &log->file, err));
    TRY_OUT(log->file->ops->size(log->file, &size, err));
    if (size < WAL_HEADER_LEN || file_read(log->file, 0, bytes, sizeof(bytes), NULL) != ST_OK ||
        wal_header_decode(bytes, path, &log->header, NULL) != ST_OK || wal_number_of(log->header.id) != n ||
        memcmp(log->header.uuid, w->uuid, sizeof(w->uuid)) != 0)
        log->header =
            (struct wal_header){.id = n}; /* half made, renamed or foreign: no superblock of ours names such an id */
    TRY_OUT(file_sync(log->file, err));
    **tail = log;
    *tail = &log->next;
    log = NULL;
out:
    free_log(w, log);
    mem_free(w->mem, path, wal_path_len(w->path));
    return st == ST_NOT_FOUND ? ST_OK : st;
}

static status adopt_all(struct wal *w, struct err *err) {
    struct wal_numbers numbers;
    struct log_file **tail = &w->oldest;
    TRY(wal_list(w->env, w->path, &numbers, err));
    status st = ST_OK;
    for (size_t i = 0; i < numbers.count && st == ST_OK; i++) st = adopt(w, numbers.n[i], &tail, err);
    if (numbers.count != 0) w->last_number = numbers.n[numbers.count - 1];
    wal_numbers_release(&numbers);
    if (st == ST_OK) st = new_log(w, &w->current, err);
    if (st == ST_OK) *tail = w->current;
    return st;
}

static status init_locks(struct wal *w, struct err *err) {
    TRY(mutex_init(&w->admin, err));
    status st = mutex_init(&w->lock, err);
    if (st == ST_OK) {
        st = cond_init(&w->synced, err);
        if (st == ST_OK) return ST_OK;
        mutex_release(&w->lock);
    }
    mutex_release(&w->admin);
    return st;
}

status wal_open(struct env *env, const char *path, const uint8_t uuid[16], uint64_t first_lsn,
                const struct wal_opts *opts, struct wal **out, struct err *err) {
    assert(first_lsn > 0);
    struct wal *w = mem_new(env->mem, struct wal);
    if (w == NULL) return RAISE(err, ST_NOMEM, "log of %s", path);
    *w = (struct wal){.env = env, .mem = env->mem, .last_lsn = first_lsn - 1, .durable = first_lsn - 1};
    if (opts != NULL) w->opts = *opts;
    if (w->opts.file_len == 0) w->opts.file_len = FILE_LEN_DEFAULT;
    if (w->opts.zero_step == 0) w->opts.zero_step = ZERO_STEP_DEFAULT;
    memcpy(w->uuid, uuid, sizeof(w->uuid));
    buf_init(&w->gather, env->mem);
    status st = init_locks(w, err);
    if (st != ST_OK) {
        mem_delete(env->mem, w);
        return st;
    }
    st = env->ops->real_path(env, path, &w->path, err);
    if (st == ST_OK) st = adopt_all(w, err);
    if (st != ST_OK) wal_close(w);
    else *out = w;
    return st;
}

void wal_close(struct wal *w) {
    if (w == NULL) return;
    while (w->oldest != NULL) {
        struct log_file *log = w->oldest;
        w->oldest = log->next;
        free_log(w, log);
    }
    free_log(w, w->prepared);
    free_log(w, w->spare);
    buf_release(&w->gather);
    if (w->path != NULL) mem_free(w->mem, w->path, strlen(w->path) + 1);
    cond_release(&w->synced);
    mutex_release(&w->lock);
    mutex_release(&w->admin);
    mem_delete(w->mem, w);
}

/* --- records --- */

static status answer_failure(struct wal *w, struct err *err) {
    if (err != NULL) *err = w->failure;
    return w->failure.st;
}

/* What sticks is ST_IO, on a full disk too: ST_NO_SPACE would say that nothing was written. */
static status stick(struct wal *w, status st, const struct err *own, struct err *err) {
    if (!w->has_failed) {
        w->has_failed = true;
        w->failure = *own;
        w->failure.st = st == ST_NO_SPACE || st == ST_NOMEM ? ST_IO : st;
    }
    return answer_failure(w, err);
}

/* Puts head and pieces into one buffer. */
static status gather(struct wal *w, const struct slice *pieces, size_t n, struct err *err) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].len > WAL_RECORD_LEN_MAX - len)
            return RAISE(err, ST_TOO_LARGE, "a transaction is too large for the log (at most %zu bytes)",
                         WAL_RECORD_LEN_MAX);
        len += pieces[i].len;
    }
    assert(len > 0);
    buf_clear(&w->gather);
    if (!buf_reserve(&w->gather, (size_t) wal_record_room(len))) {
        buf_clear(&w->gather);
        return RAISE(err, ST_NOMEM, "log record of %zu bytes", len);
    }
    (void) buf_append_zero(&w->gather, WAL_RECORD_HEAD_LEN);
    for (size_t i = 0; i < n; i++) (void) buf_append_slice(&w->gather, pieces[i]);
    struct wal_record r = {.len = (uint32_t) len, .lsn = w->last_lsn + 1, .durable_lsn = w->durable};
    r.checksum = wal_payload_checksum(&w->current->header, w->gather.p + WAL_RECORD_HEAD_LEN, len);
    wal_record_encode(&w->current->header, &r, w->gather.p);
    (void) buf_append_zero(&w->gather, (size_t) wal_record_room(len) - w->gather.len);
    return ST_OK;
}

/* Makes room for the gathered record and, ahead of it, for those that follow (W5). What cannot be had here leaves the log as
 * it was: bytes past the last record mean nothing. */
static status make_room(struct wal *w, struct log_file *log, struct err *err) {
    uint64_t end = log->len + w->gather.len;
    if (end <= log->ready_to) return ST_OK;
    uint64_t ready_to = end + w->opts.zero_step;
    status st = log->file->ops->preallocate(log->file, log->ready_to, ready_to - log->ready_to, err);
    if (st == ST_NO_SPACE) { /* a nearly full disk: what this record needs */
        ready_to = end;
        st = log->file->ops->preallocate(log->file, log->ready_to, ready_to - log->ready_to, err);
    }
    TRY(st);
    TRY(write_zeros(log->file, end, ready_to, err)); /* before `end` the record itself will lie */
    log->ready_to = ready_to;
    return ST_OK;
}

/* The caller holds the lock. */
static status append(struct wal *w, const struct slice *pieces, size_t n, uint64_t *out_lsn, struct err *err) {
    struct log_file *log = w->current;
    struct err own = ERR_INIT;
    if (w->has_failed) return answer_failure(w, err);
    TRY(gather(w, pieces, n, err));
    status st = make_room(w, log, &own);
    if (st == ST_NO_SPACE || st == ST_NOMEM) {
        if (err != NULL) *err = own;
        return st;
    }
    if (st == ST_OK) st = file_write(log->file, log->len, w->gather.p, w->gather.len, &own);
    if (st != ST_OK) return stick(w, st, &own, err);
    log->len += w->gather.len;
    log->is_dirty = true;
    *out_lsn = ++w->last_lsn;
    return ST_OK;
}

status wal_append(struct wal *w, const struct slice *pieces, size_t n, uint64_t *out_lsn, struct err *err) {
    mutex_lock(&w->lock);
    status st = append(w, pieces, n, out_lsn, err);
    if (w->gather.cap > GATHER_KEPT_MAX) buf_release(&w->gather);
    mutex_unlock(&w->lock);
    return st;
}

/* Syncs every file with records up to now. The caller holds the lock, which is let go meanwhile, and set is_syncing: so no
 * file of the list goes away. */
static void sync_all(struct wal *w) {
    uint64_t target = w->last_lsn;
    struct log_file *last = w->current;
    struct err own = ERR_INIT;
    status st = ST_OK;
    for (struct log_file *log = w->oldest; st == ST_OK; log = log->next) {
        if (log->is_dirty) {
            log->is_dirty = false;
            mutex_unlock(&w->lock);
            st = file_sync(log->file, &own);
            mutex_lock(&w->lock);
        }
        if (log == last) break;
    }
    if (st == ST_OK) w->durable = target; /* W2 */
    else (void) stick(w, st, &own, NULL);
}

status wal_sync(struct wal *w, uint64_t lsn, struct err *err) {
    status st = ST_OK;
    mutex_lock(&w->lock);
    assert(lsn <= w->last_lsn);
    while (w->durable < lsn && !w->has_failed) {
        if (w->is_syncing) {
            cond_wait(&w->synced, &w->lock);
            continue;
        }
        w->is_syncing = true;
        sync_all(w);
        w->is_syncing = false;
        cond_broadcast(&w->synced);
    }
    if (w->durable < lsn) st = answer_failure(w, err);
    mutex_unlock(&w->lock);
    return st;
}

uint64_t wal_last_lsn(struct wal *w) {
    mutex_lock(&w->lock);
    uint64_t lsn = w->last_lsn;
    mutex_unlock(&w->lock);
    return lsn;
}

uint64_t wal_current_id(struct wal *w) {
    mutex_lock(&w->lock);
    uint64_t id = w->current->header.id;
    mutex_unlock(&w->lock);
    return id;
}

uint64_t wal_current_len(struct wal *w) {
    mutex_lock(&w->lock);
    uint64_t len = w->current->len;
    mutex_unlock(&w->lock);
    return len;
}

/* --- rotation --- */

/* The caller holds admin. */
static status prepare(struct wal *w, struct err *err) {
    return w->prepared != NULL ? ST_OK : new_log(w, &w->prepared, err);
}

status wal_prepare(struct wal *w, uint64_t *out_id, struct err *err) {
    mutex_lock(&w->admin);
    status st = prepare(w, err);
    if (st == ST_OK) *out_id = w->prepared->header.id;
    mutex_unlock(&w->admin);
    return st;
}

status wal_rotate(struct wal *w, uint64_t *out_id, struct err *err) {
    mutex_lock(&w->admin);
    status st = prepare(w, err);
    if (st == ST_OK) {
        mutex_lock(&w->lock);
        if (w->has_failed) {
            st = answer_failure(w, err);
        } else {
            w->current->next = w->prepared;
            w->current = w->prepared;
            w->prepared = NULL;
            *out_id = w->current->header.id;
        }
        mutex_unlock(&w->lock);
    }
    mutex_unlock(&w->admin);
    return st;
}

static bool is_needed(const struct log_file *log, const uint64_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] == log->header.id) return true;
    return false;
}

/* Takes the logs that are unneeded for the second time out of the list. */
static struct log_file *take_unneeded(struct wal *w, const uint64_t *ids, size_t n) {
    struct log_file *gone = NULL;
    mutex_lock(&w->lock);
    while (w->is_syncing) cond_wait(&w->synced, &w->lock);
    for (struct log_file **at = &w->oldest; *at != w->current;) {
        struct log_file *log = *at;
        bool was_condemned = log->is_condemned;
        log->is_condemned = !is_needed(log, ids, n);
        if (!log->is_condemned || !was_condemned) {
            at = &log->next;
            continue;
        }
        *at = log->next;
        log->next = gone;
        gone = log;
    }
    mutex_unlock(&w->lock);
    return gone;
}

status wal_forget(struct wal *w, const uint64_t *ids_needed, size_t n, struct err *err) {
    status st = ST_OK;
    bool unlinked = false;
    mutex_lock(&w->admin);
    struct log_file *gone = take_unneeded(w, ids_needed, n);
    while (gone != NULL) {
        struct log_file *log = gone;
        gone = log->next;
        log->next = NULL;
        /* A spare keeps its name until it is used; its size is worth keeping unless it held something huge. */
        if (w->spare == NULL && log->len <= 2 * w->opts.file_len) {
            w->spare = log;
            continue;
        }
        char *path = wal_path_new(w->mem, w->path, wal_number_of(log->header.id));
        status st_log =
            path != NULL ? w->env->ops->unlink(w->env, path, err) : RAISE(err, ST_NOMEM, "log of %s", w->path);
        if (st_log == ST_NOT_FOUND) st_log = ST_OK;
        if (st_log != ST_OK) st = st_log; /* it stays: the next opener finds it unneeded */
        unlinked = true;
        mem_free(w->mem, path, wal_path_len(w->path));
        free_log(w, log);
    }
    if (unlinked && st == ST_OK) st = w->env->ops->sync_dir(w->env, w->path, err);
    mutex_unlock(&w->admin);
    return st;
}
