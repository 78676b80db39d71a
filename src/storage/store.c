/* The database file: commit, space and checking; opening is in store_open.c. See store.h, docs/FORMAT.md.
 *
 * A commit of generation g:
 *
 *   manifest g+1 -> free extents      sync        superblock g+1 -> slot (g+1) % 2      sync
 *   ─────────────────────────────────────┴──────────────────────────────────────────────┴─> g+1 is the database
 *   a failure here undoes all, the        from the first sync on a failure sticks: nobody knows what the disk has,
 *   commit may be tried again             so nothing may be written any more until the file is opened anew
 *
 *   T1  Whatever superblock g or g-1 refers to is neither in `space` nor cut off the file. So both slots are complete.
 *   T2  `pending` holds what commit g freed; it goes to `space` when g+1 is durable.
 *   T3  Every byte of [SUPERBLOCKS_LEN, file_len) is in `space`, in `pending`, in the manifest's extents, or the caller's.
 *
 * Threads: commit_lock is held by a commit or sync from end to end; lock, for moments, guards space, pending, file_len, failed and
 * head. Taken in that order. Reads and writes of extents take no lock. */
#include "storage/store_internal.h"

#include <assert.h>
#include <inttypes.h>

#include "base/hash.h"

#define GROW_MIN                                                                                                       \
    ((uint64_t) 1 << 20) /* the file grows by at least this, so that ordinary writes do not change its length, */
#define GROW_MAX ((uint64_t) 64 << 20) /* by an eighth of itself up to this */
#define PIECE_MIN                                                                                                      \
    ((uint64_t) 16 *                                                                                                   \
     UNIT_LEN) /* pieces of an allocation in several extents are not smaller, but those that fill holes */

#define NO_LIMIT UINT64_MAX

const struct store_head *store_head(const struct store *s) { return &s->current.head; }
const char *store_path(const struct store *s) { return s->path; }

static status refuse_writes(struct store *s, struct err *err) {
    if (s->read_only) return RAISE(err, ST_READ_ONLY, "%s was opened for reading only", s->path);
    if (!s->has_failed) return ST_OK;
    if (err != NULL) *err = s->failure;
    return s->failure.st;
}

/* Remembers what failed; every later write answers it. ST_IO on a full disk too: ST_NO_SPACE would say that nothing has changed. */
static status stick(struct store *s, status st, const struct err *own, struct err *err) {
    if (st == ST_NO_SPACE || st == ST_NOMEM) st = ST_IO;
    mutex_lock(&s->lock);
    if (!s->has_failed) {
        s->failure = *own;
        s->failure.st = st;
        s->has_failed = true;
    }
    mutex_unlock(&s->lock);
    if (err != NULL) {
        *err = *own;
        err->st = st;
    }
    return st;
}

/* --- space --- */

static uint64_t round_up(uint64_t len, uint64_t unit) { return (len + unit - 1) / unit * unit; }

static uint64_t grow_step(const struct store *s) {
    uint64_t step = round_up(s->file_len / 8, UNIT_LEN);
    return step < GROW_MIN ? GROW_MIN : step > GROW_MAX ? GROW_MAX : step;
}

/* Makes the file longer, so that its last free run has `need` bytes at least. The caller holds the lock. */
static status grow_file(struct store *s, uint64_t need, struct err *err) {
    struct extent tail = space_last(&s->space);
    if (tail.len != 0 && tail.at + tail.len == s->file_len) need = need > tail.len ? need - tail.len : 0;
    if (need == 0) return ST_OK;
    uint64_t len_max =
        s->units_max != 0 && s->units_max < INT64_MAX / UNIT_LEN ? s->units_max * UNIT_LEN : INT64_MAX / 2;
    if (s->file_len >= len_max || need > len_max - s->file_len)
        return RAISE(err, ST_NO_SPACE, "%s may not grow past %" PRIu64 " bytes", s->path, len_max);
    uint64_t step = grow_step(s), room = len_max - s->file_len;
    if (step < need) step = need;
    if (step > room) step = room / UNIT_LEN * UNIT_LEN;
    TRY(space_reserve(&s->space, 1, err));
    status st = s->file->ops->preallocate(s->file, s->file_len, step, err);
    if (st == ST_NO_SPACE && step > need) {
        step = need;
        st = s->file->ops->preallocate(s->file, s->file_len, step, err);
    }
    TRY(st);
    TRY(space_give(&s->space, (struct extent){s->file_len, step}, err));
    s->file_len += step;
    return ST_OK;
}

static void give_back(struct store *s, const struct extent *extents, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        (void) space_give(&s->space, extents[i], NULL); /* without memory it is lost until the file is opened anew */
}

/* One run if there is one; else pieces from low addresses, each large enough for the rest to fit the number; else, without a
 * limit, growth. */
static status take_extents(struct store *s, uint64_t len, uint32_t extents_max, uint64_t limit, struct extent *out,
                           uint32_t *out_count, struct err *err) {
    uint32_t n = 0;
    uint64_t rest = len;
    while (rest != 0) {
        uint64_t left = extents_max - n, share = round_up((rest + left - 1) / left, UNIT_LEN);
        uint64_t least = share < PIECE_MIN && limit == NO_LIMIT ? PIECE_MIN : share;
        if (least > rest) least = rest;
        if (space_take_below(&s->space, rest, rest, limit, &out[n]) ||
            space_take_below(&s->space, least, rest, limit, &out[n])) {
            rest -= out[n++].len;
            continue;
        }
        status st = limit == NO_LIMIT ? grow_file(s, rest, err) : ST_NOT_FOUND;
        if (st != ST_OK) {
            give_back(s, out, n);
            return st;
        }
    }
    *out_count = n;
    return ST_OK;
}

status store_alloc_below(struct store *s, uint64_t len, uint32_t extents_max, uint64_t limit, struct extent *out,
                         uint32_t *out_count, struct err *err) {
    assert(extents_max > 0);
    if (len > INT64_MAX / 2) return RAISE(err, ST_NO_SPACE, "%s: %" PRIu64 " bytes were asked for", s->path, len);
    mutex_lock(&s->lock);
    status st = refuse_writes(s, err);
    if (st == ST_OK) st = take_extents(s, round_up(len, UNIT_LEN), extents_max, limit, out, out_count, err);
    mutex_unlock(&s->lock);
    return st;
}

status store_alloc(struct store *s, uint64_t len, uint32_t extents_max, struct extent *out, uint32_t *out_count,
                   struct err *err) {
    return store_alloc_below(s, len, extents_max, NO_LIMIT, out, out_count, err);
}

void store_forfeit(struct store *s, const struct extent *extents, uint32_t count) {
    mutex_lock(&s->lock);
    /* After a failed commit the disk may refer to what its caller thinks it may take back: T1. */
    if (!s->has_failed) give_back(s, extents, count);
    mutex_unlock(&s->lock);
}

status store_claim(struct store *s, struct extent e, struct err *err) {
    bool was_free = false;
    if (e.at % UNIT_LEN != 0 || e.len % UNIT_LEN != 0 || e.at > s->file_len || e.len > s->file_len - e.at)
        return RAISE(err, ST_CORRUPT, "%s: an extent of %" PRIu64 " bytes at %" PRIu64 " lies outside of the file",
                     s->path, e.len, e.at);
    mutex_lock(&s->lock);
    status st = space_claim(&s->space, e, &was_free, err);
    mutex_unlock(&s->lock);
    if (st == ST_OK && !was_free) st = RAISE(err, ST_CORRUPT, "%s: two extents overlap at %" PRIu64, s->path, e.at);
    return st;
}

struct store_space store_space(struct store *s) {
    mutex_lock(&s->lock);
    struct store_space sp = {.file_len = s->file_len, .free_len = s->space.free_len};
    for (size_t i = 0; i < s->pending_count; i++) sp.pending_len += s->pending[i].len;
    sp.used_len = sp.file_len - sp.free_len - sp.pending_len;
    mutex_unlock(&s->lock);
    return sp;
}

/* --- bytes --- */

status store_write(struct store *s, uint64_t at, const void *p, size_t len, struct err *err) {
    assert(at >= SUPERBLOCKS_LEN);
    mutex_lock(&s->lock);
    status st = refuse_writes(s, err);
    mutex_unlock(&s->lock);
    return st == ST_OK ? file_write(s->file, at, p, len, err) : st;
}

status store_read(struct store *s, uint64_t at, void *p, size_t len, struct err *err) {
    return file_read(s->file, at, p, len, err);
}

void store_will_need(struct store *s, uint64_t at, uint64_t len) { s->file->ops->will_need(s->file, at, len); }

/* --- commit --- */

static status write_manifest(struct store *s, const struct manifest *m, struct superblock *sb, struct err *err) {
    struct buf bytes;
    status st = ST_OK;
    buf_init(&bytes, s->mem);
    TRY_OUT(manifest_encode(m, &bytes, err));
    TRY_OUT(store_alloc(s, bytes.len, MANIFEST_EXTENTS_MAX, sb->manifest_extents, &sb->manifest_extent_count, err));
    sb->manifest_len = bytes.len;
    sb->manifest_checksum = hash64(bytes.p, bytes.len, superblock_seed(sb));
    size_t done = 0;
    for (uint32_t i = 0; i < sb->manifest_extent_count; i++) {
        size_t part = bytes.len - done;
        if (part > sb->manifest_extents[i].len) part = (size_t) sb->manifest_extents[i].len;
        st = file_write(s->file, sb->manifest_extents[i].at, bytes.p + done, part, err);
        if (st != ST_OK) {
            store_forfeit(s, sb->manifest_extents, sb->manifest_extent_count);
            goto out;
        }
        done += part;
    }
out:
    buf_release(&bytes);
    return st;
}

/* Writes the slot of sb's generation and syncs. A failure sticks. */
status store_write_superblock(struct store *s, const struct superblock *sb, struct err *err) {
    uint8_t slot[UNIT_LEN];
    struct err own = ERR_INIT;
    superblock_encode(sb, slot);
    status st = file_write(s->file, sb->head.generation % SUPERBLOCK_SLOTS * UNIT_LEN, slot, sizeof(slot), &own);
    if (st == ST_OK) st = file_sync(s->file, &own);
    if (st == ST_OK) return ST_OK;
    s->other_is_torn = true; /* as far as anybody can tell */
    return stick(s, st, &own, err);
}

static status sync_data(struct store *s, struct err *err) {
    struct err own = ERR_INIT;
    status st = file_sync(s->file, &own);
    return st == ST_OK ? ST_OK : stick(s, st, &own, err);
}

/* One at a time: a system tells of a failed sync once, so that a second one beside it could succeed without the bytes of both. */
status store_sync(struct store *s, struct err *err) {
    mutex_lock(&s->commit_lock);
    mutex_lock(&s->lock);
    status st = refuse_writes(s, err);
    mutex_unlock(&s->lock);
    if (st == ST_OK) st = sync_data(s, err);
    mutex_unlock(&s->commit_lock);
    return st;
}

/* What the commit before freed is free now; what this one freed waits. `next` has room for all of it, and so has space. */
static void turn_pending(struct store *s, struct extent *next, size_t next_count, size_t next_cap) {
    give_back(s, s->pending, (uint32_t) s->pending_count);
    mem_free(s->mem, s->pending, s->pending_cap * sizeof(*s->pending));
    s->pending = next;
    s->pending_count = next_count;
    s->pending_cap = next_cap;
}

/* Cuts off the free end: when it is longer than two steps, down to one; at a clean end all of it. T1 holds as pending
 * extents are not in `space`; after a failure nobody knows which superblock counts, and nothing is cut. A failure to cut costs nothing but length. */
static void trim_file(struct store *s, bool wholly) {
    mutex_lock(&s->lock);
    struct extent tail = space_last(&s->space);
    uint64_t keep = wholly ? 0 : grow_step(s);
    bool was_free = false;
    if (s->has_failed || tail.len == 0 || tail.at + tail.len != s->file_len || (!wholly && tail.len <= 2 * keep))
        goto out;
    struct extent cut = {tail.at + keep, tail.len - keep};
    if (space_claim(&s->space, cut, &was_free, NULL) != ST_OK) goto out;
    assert(was_free);
    if (s->file->ops->truncate(s->file, cut.at, NULL) == ST_OK) s->file_len = cut.at;
    else (void) space_give(&s->space, cut, NULL);
out:
    mutex_unlock(&s->lock);
}

void store_trim(struct store *s) { trim_file(s, true); }

/* At a clean end the same state is written once more, so that the file can be cut to what is in use. */
static void settle_clean(struct store *s) {
    struct superblock sb = s->current;
    if (s->pending_count != 0) {
        sb.head.generation++;
        if (store_write_superblock(s, &sb, NULL) != ST_OK) return; /* the commit stands all the same */
        mutex_lock(&s->lock);
        turn_pending(s, NULL, 0, 0);
        s->current = sb;
        mutex_unlock(&s->lock);
    }
    trim_file(s, true);
}

/* Memory for what is to come after the point of no return: *next holds `freed` and the old manifest's extents. */
static status prepare_pending(struct store *s, const struct extent *freed, size_t freed_count, struct extent **next,
                              size_t *next_count, struct err *err) {
    size_t old_count = s->current.manifest_extent_count;
    *next = mem_alloc(s->mem, (freed_count + old_count) * sizeof(**next));
    if (*next == NULL) return RAISE(err, ST_NOMEM, "commit of %s", s->path);
    if (freed_count != 0) memcpy(*next, freed, freed_count * sizeof(*freed));
    if (old_count != 0) memcpy(*next + freed_count, s->current.manifest_extents, old_count * sizeof(*freed));
    *next_count = freed_count + old_count;
    mutex_lock(&s->lock);
    status st = space_reserve(&s->space, s->pending_count + 8, err);
    mutex_unlock(&s->lock);
    return st;
}

/* The caller holds commit_lock. */
static status commit(struct store *s, const struct manifest *m, const struct store_head *head,
                     const struct extent *freed, size_t freed_count, struct err *err) {
    struct superblock sb = s->current;
    struct extent *next = NULL;
    size_t next_count = 0;
    status st = ST_OK;
    mutex_lock(&s->lock);
    st = refuse_writes(s, err);
    mutex_unlock(&s->lock);
    TRY(st);
    sb.head.flags = head->flags;
    sb.head.log_count = head->log_count;
    memcpy(sb.head.logs, head->logs, sizeof(sb.head.logs));
    sb.head.replay_lsn = head->replay_lsn;
    sb.head.generation++;
    TRY_OUT(prepare_pending(s, freed, freed_count, &next, &next_count, err));
    TRY_OUT(write_manifest(s, m, &sb, err));
    TRY_OUT(sync_data(s, err));
    TRY_OUT(store_write_superblock(s, &sb, err));
    mutex_lock(&s->lock);
    turn_pending(s, next, next_count, next_count);
    s->current = sb;
    s->other_is_torn = false;
    mutex_unlock(&s->lock);
    if ((head->flags & STORE_CLEAN) != 0) settle_clean(s);
    else trim_file(s, false);
    return ST_OK;
out:
    mem_free(s->mem, next, next_count * sizeof(*next));
    return st;
}

/* True when a free run below the manifest has room for all of it. */
static bool manifest_could_move_down(struct store *s) {
    struct extent lowest;
    mutex_lock(&s->lock);
    bool could = !s->has_failed && space_take(&s->space, round_up(s->current.manifest_len, UNIT_LEN), &lowest);
    if (could) {
        give_back(s, &lowest, 1);
        could = lowest.at < s->current.manifest_extents[0].at;
    }
    mutex_unlock(&s->lock);
    return could;
}

status store_commit(struct store *s, const struct manifest *m, const struct store_head *head,
                    const struct extent *freed, size_t freed_count, struct err *err) {
    if (head->log_count > STORE_LOGS_MAX)
        return RAISE(err, ST_INVALID, "%s: %" PRIu32 " logs, at most %d", s->path, head->log_count, STORE_LOGS_MAX);
    mutex_lock(&s->commit_lock);
    status st = commit(s, m, head, freed, freed_count, err);
    /* At a clean end the manifest itself may be what keeps the file long. If moving it fails, the commit stands. */
    if (st == ST_OK && (head->flags & STORE_CLEAN) != 0 && manifest_could_move_down(s))
        (void) commit(s, m, head, NULL, 0, NULL);
    mutex_unlock(&s->commit_lock);
    return st;
}

/* --- checking --- */

struct checker {
    struct store *store;
    void (*found)(void *ctx, const char *text);
    void *ctx;
};

static void report(struct checker *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void report(struct checker *c, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->found(c->ctx, text);
}

static status check_slot(struct checker *c, uint32_t slot, struct err *err) {
    uint8_t bytes[UNIT_LEN];
    struct superblock sb = {0};
    enum superblock_state state;
    struct err own = ERR_INIT;
    struct store *s = c->store;
    status st = file_read(s->file, slot * (uint64_t) UNIT_LEN, bytes, sizeof(bytes), &own);
    if (st == ST_OK) st = superblock_decode(bytes, slot, &sb, &state, &own);
    if (st != ST_OK) {
        if (st != ST_CORRUPT && st != ST_UNSUPPORTED) return RAISE(err, st, "%s", own.text);
        if (!s->other_is_torn || s->current.head.generation % SUPERBLOCK_SLOTS == slot)
            report(c, "superblock %" PRIu32 ": %s", slot, own.text);
        return ST_OK;
    }
    uint64_t newest = s->current.head.generation;
    uint64_t want = newest % SUPERBLOCK_SLOTS == slot ? newest : newest - 1;
    if (want != newest && (s->other_is_torn || (want == 0 && state == SUPERBLOCK_EMPTY))) return ST_OK;
    if (state != SUPERBLOCK_WHOLE) report(c, "superblock %" PRIu32 " is damaged", slot);
    else if (sb.head.generation != want)
        report(c, "superblock %" PRIu32 " has generation %" PRIu64 ", not %" PRIu64, slot, sb.head.generation, want);
    else if (memcmp(sb.head.uuid, s->current.head.uuid, sizeof(sb.head.uuid)) != 0)
        report(c, "superblock %" PRIu32 " is of another database", slot);
    return ST_OK;
}

static void check_extent(struct checker *c, struct extent e, const char *whose, uint64_t id) {
    if (e.at > c->store->file_len || e.len > c->store->file_len - e.at)
        report(c, "%s %" PRIu64 ": its extent at %" PRIu64 " lies outside of the file", whose, id, e.at);
    else if (space_overlaps(&c->store->space, e))
        report(c, "%s %" PRIu64 ": its extent at %" PRIu64 " is also counted as free", whose, id, e.at);
}

/* The map of space, under the lock. */
static void check_space(struct checker *c, const struct manifest *m) {
    struct store *s = c->store;
    mutex_lock(&s->lock);
    for (size_t i = 0; i < m->segment_count; i++)
        for (uint32_t k = 0; k < m->segments[i].extent_count; k++)
            check_extent(c, m->segments[i].extents[k], "segment", m->segments[i].id);
    for (uint32_t i = 0; i < s->current.manifest_extent_count; i++)
        check_extent(c, s->current.manifest_extents[i], "manifest of generation", s->current.head.generation);
    for (size_t i = 0; i < s->pending_count; i++) check_extent(c, s->pending[i], "freed extent", i);
    mutex_unlock(&s->lock);
}

status store_check(struct store *s, const struct manifest *m, void (*found)(void *ctx, const char *text), void *ctx,
                   struct err *err) {
    struct checker c = {s, found, ctx};
    struct manifest stored;
    struct buf bytes;
    struct err own = ERR_INIT;
    manifest_init(&stored, s->mem);
    buf_init(&bytes, s->mem);
    mutex_lock(&s->commit_lock);
    status st = ST_OK;
    for (uint32_t slot = 0; slot < SUPERBLOCK_SLOTS && st == ST_OK; slot++) st = check_slot(&c, slot, err);
    if (st == ST_OK) {
        st = store_load_manifest(s, &s->current, &stored, &own);
        if (st == ST_CORRUPT) st = ST_OK, report(&c, "%s", own.text);
        else if (st != ST_OK && err != NULL) *err = own;
    }
    if (st == ST_OK) {
        /* encoding checks that no two extents of the manifest overlap */
        st = manifest_encode(m, &bytes, &own);
        if (st == ST_CORRUPT) st = ST_OK, report(&c, "%s", own.text);
        else if (st != ST_OK && err != NULL) *err = own;
    }
    if (st == ST_OK) check_space(&c, m);
    mutex_unlock(&s->commit_lock);
    buf_release(&bytes);
    manifest_release(&stored);
    return st;
}
