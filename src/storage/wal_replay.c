/* The reading side of the log: recovery, removal at a clean close, and who has the file. See wal.h; bytes: wal_file.h.
 *
 * The named logs are one stream of records with consecutive LSNs. `next` is the LSN that must come next (the first that is not in
 * segments, to begin with). Where a log stops having good records in order, that is its end, unless the rest of this log holds
 * a record which says that `next` was durable: then durable records are gone, and the database is refused. The next log goes
 * on at `next`, or lower (what is in segments already). If it begins higher, the records between were lost: damage if one of
 * its records says that they were durable; else it is passed over, as the recovery that came upon it first did: that one went
 * on at `next` in a log of its own, which comes later. */
#include <assert.h>
#include <inttypes.h>

#include "base/buf.h"
#include "base/endian.h"
#include "storage/wal_file.h"

#define WINDOW_LEN ((uint64_t) 1 << 20)

struct reader {
    struct file *file;
    const char *path;
    struct wal_header header;
    uint64_t size;
    struct buf window; /* bytes [window_at, window_at + window.len) of the file */
    uint64_t window_at;
};

struct replay {
    uint64_t next;
    status (*visit)(void *ctx, uint64_t lsn, struct slice record, struct err *err);
    void *ctx;
};

/* Makes [at, at + len) readable; *out is valid until the next call. ST_END past the end of the file. */
static status look(struct reader *r, uint64_t at, uint64_t len, const uint8_t **out, struct err *err) {
    if (at > r->size || len > r->size - at) return ST_END;
    if (at < r->window_at || at + len > r->window_at + r->window.len) {
        uint64_t take = len > WINDOW_LEN ? len : WINDOW_LEN;
        if (take > r->size - at) take = r->size - at;
        buf_clear(&r->window);
        uint8_t *p = buf_extend(&r->window, (size_t) take);
        if (p == NULL) return RAISE(err, ST_NOMEM, "recovery of %s", r->path);
        status st = file_read(r->file, at, p, (size_t) take, err);
        if (st != ST_OK) {
            buf_clear(&r->window);
            return st;
        }
        r->window_at = at;
    }
    *out = r->window.p + (at - r->window_at);
    return ST_OK;
}

/* The record at `at`: ST_END when no good one is there. *payload is valid until the next look. */
static status read_record(struct reader *r, uint64_t at, struct wal_record *rec, struct slice *payload,
                          struct err *err) {
    const uint8_t *p;
    TRY(look(r, at, WAL_RECORD_HEAD_LEN, &p, err));
    if (!wal_record_decode(&r->header, p, rec)) return ST_END;
    TRY(look(r, at, wal_record_room(rec->len), &p, err));
    *payload = slice_of(p + WAL_RECORD_HEAD_LEN, rec->len);
    return wal_payload_checksum(&r->header, payload->p, payload->len) == rec->checksum ? ST_OK : ST_END;
}

/* Reads good records in order and passes on those that count. *end is where they stop. */
static status read_run(struct reader *r, struct replay *rp, uint64_t *end, struct err *err) {
    uint64_t at = WAL_HEADER_LEN, before = 0;
    for (;;) {
        struct wal_record rec;
        struct slice payload;
        *end = at;
        status st = read_record(r, at, &rec, &payload, err);
        if (st == ST_END) return ST_OK;
        TRY(st);
        if (before == 0 && rec.lsn > rp->next) return ST_OK;
        if (before != 0 && rec.lsn != before + 1) return ST_OK;
        before = rec.lsn;
        at += wal_record_room(rec.len);
        if (rec.lsn < rp->next) continue;
        TRY(rp->visit(rp->ctx, rec.lsn, payload, err));
        rp->next++;
    }
}

/* Looks through the bytes from `at` on for a record which says that `next` was durable. Records begin at multiples of 8. */
static status refuse_if_durable(struct reader *r, uint64_t at, uint64_t next, struct err *err) {
    for (; at + WAL_RECORD_HEAD_LEN <= r->size; at += 8) {
        const uint8_t *p;
        struct wal_record rec;
        struct slice payload;
        TRY(look(r, at, WAL_RECORD_HEAD_LEN, &p, err));
        if (get_le64(p + 16) < next || get_le64(p + 8) <= next) continue; /* cheap, before any hash */
        status st = read_record(r, at, &rec, &payload, err);
        if (st == ST_OK)
            return RAISE(err, ST_CORRUPT,
                         "%s: record %" PRIu64 " is damaged or missing, but record %" PRIu64
                         " says that it was on disk",
                         r->path, next, rec.lsn);
        if (st != ST_END) return st;
    }
    return ST_OK;
}

/* Opens the log with this id and checks that it is the one. */
static status open_log(struct reader *r, struct env *env, const uint8_t uuid[16], uint64_t id, struct err *err) {
    status st = wal_header_read(env, r->path, FILE_READ_ONLY, &r->file, &r->header, err);
    if (st == ST_NOT_FOUND) return RAISE(err, ST_CORRUPT, "%s is missing: the database needs it", r->path);
    TRY(st);
    if (memcmp(r->header.uuid, uuid, sizeof(r->header.uuid)) != 0)
        return RAISE(err, ST_CORRUPT, "%s belongs to another database", r->path);
    if (r->header.id != id)
        return RAISE(err, ST_CORRUPT, "%s is not the log that the database needs, but another with its name", r->path);
    return r->file->ops->size(r->file, &r->size, err);
}

/* One log of the stream. */
static status replay_log(struct env *env, const char *real, const uint8_t uuid[16], uint64_t id, struct replay *rp,
                         struct err *err) {
    struct reader r = {0};
    status st = ST_OK;
    char *path = wal_path_new(env->mem, real, wal_number_of(id));
    if (path == NULL) return RAISE(err, ST_NOMEM, "recovery of %s", real);
    r.path = path;
    buf_init(&r.window, env->mem);
    TRY_OUT(open_log(&r, env, uuid, id, err));
    uint64_t end = WAL_HEADER_LEN;
    TRY_OUT(read_run(&r, rp, &end, err));
    st = refuse_if_durable(&r, end, rp->next, err);
out:
    file_close(r.file);
    buf_release(&r.window);
    mem_free(env->mem, path, wal_path_len(real));
    return st;
}

status wal_replay(struct env *env, const char *path, const uint8_t uuid[16], const uint64_t *ids, size_t n,
                  uint64_t after_lsn, status (*visit)(void *ctx, uint64_t lsn, struct slice record, struct err *err),
                  void *ctx, uint64_t *last_lsn, struct err *err) {
    struct replay rp = {after_lsn + 1, visit, ctx};
    char *real = NULL;
    TRY(env->ops->real_path(env, path, &real, err));
    status st = ST_OK;
    for (size_t i = 0; i < n && st == ST_OK; i++) st = replay_log(env, real, uuid, ids[i], &rp, err);
    mem_free(env->mem, real, strlen(real) + 1);
    if (st == ST_OK) *last_lsn = rp.next - 1;
    return st;
}

status wal_remove_all(struct env *env, const char *path, struct err *err) {
    struct wal_numbers numbers;
    char *real = NULL;
    TRY(env->ops->real_path(env, path, &real, err));
    status st = wal_list(env, real, &numbers, err);
    if (st != ST_OK) goto out;
    for (size_t i = 0; i < numbers.count && st == ST_OK; i++) {
        char *name = wal_path_new(env->mem, real, numbers.n[i]);
        st = name != NULL ? env->ops->unlink(env, name, err) : RAISE(err, ST_NOMEM, "logs of %s", real);
        if (st == ST_NOT_FOUND) st = ST_OK;
        mem_free(env->mem, name, wal_path_len(real));
    }
    if (st == ST_OK && numbers.count != 0) st = env->ops->sync_dir(env, real, err);
    wal_numbers_release(&numbers);
out:
    mem_free(env->mem, real, strlen(real) + 1);
    return st;
}

void wal_holder(struct env *env, const char *path, char *text, size_t text_len) {
    struct wal_numbers numbers;
    struct wal_header header;
    struct file *f = NULL;
    char *real = NULL;
    assert(text_len > 0);
    text[0] = '\0';
    if (env->ops->real_path(env, path, &real, NULL) != ST_OK) return;
    if (wal_list(env, real, &numbers, NULL) == ST_OK && numbers.count != 0) {
        char *name = wal_path_new(env->mem, real, numbers.n[numbers.count - 1]);
        if (name != NULL && wal_header_read(env, name, FILE_READ_ONLY, &f, &header, NULL) == ST_OK) {
            size_t len = strlen(header.holder) < text_len ? strlen(header.holder) : text_len - 1;
            for (size_t i = 0; i < len; i++) /* printable, whatever the file says */
                text[i] = (char) (header.holder[i] >= ' ' && header.holder[i] <= '~' ? header.holder[i] : '?');
            text[len] = '\0';
            file_close(f);
        }
        mem_free(env->mem, name, wal_path_len(real));
    }
    wal_numbers_release(&numbers);
    mem_free(env->mem, real, strlen(real) + 1);
}
