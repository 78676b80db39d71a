/* Tree commits: an edit of the manifest, made durable by the store and visible by a version, or neither.
 *
 *   copy the manifest, edit -> prepare the version -> store_commit -> install, swap manifests -> forget logs
 *                                       \ failed: discard, nothing changed
 *
 * Extents go back with the commit after the last reader: a dropped run waits in free_runs once no version holds it (engine.h E3), a place that a move left
 * and a dropped large value's in `lefts` until the versions from before it are gone (E4, E6).
 */
#include <assert.h>

#include "storage/engine.h"

/* What one commit gives back. */
struct giving {
    struct run *runs;
    struct left *lefts;
    struct extent *extents;
    size_t count, cap;
};

/* free_mutex held: no version needs it any more. */
static bool is_ripe(const struct lsm *l, const struct left *left) {
    return l->oldest == NULL || l->oldest->number >= left->until;
}

bool tree_meets_merge(const struct lsm *l, struct slice lo, struct slice hi, bool hi_is_open) {
    if (!l->merging.is_on) return false;
    int c = slice_compare(l->merging.hi, lo);
    if (c < 0 || (c == 0 && l->merging.hi_is_open)) return false;
    c = slice_compare(l->merging.lo, hi);
    return c < 0 || (c == 0 && !hi_is_open);
}

uint64_t tree_freed_len(struct lsm *l) {
    uint64_t sum = 0;
    mutex_lock(&l->free_mutex);
    for (const struct run *r = l->free_runs; r != NULL; r = r->next_free)
        for (uint32_t i = 0; i < r->meta->extent_count; i++) sum += r->meta->extents[i].len;
    for (const struct left *left = l->lefts; left != NULL; left = left->next)
        for (size_t i = 0; is_ripe(l, left) && i < left->count; i++) sum += left->extents[i].len;
    mutex_unlock(&l->free_mutex);
    return sum;
}

static status give(struct lsm *l, struct giving *g, const struct extent *extents, size_t n, struct err *err) {
    void *array = g->extents;
    if (!mem_grow(l->mem, &array, &g->cap, g->count + n, sizeof(*g->extents)))
        return RAISE(err, ST_NOMEM, "freed extents");
    g->extents = array;
    if (n > 0) memcpy(&g->extents[g->count], extents, n * sizeof(*extents));
    g->count += n;
    return ST_OK;
}

/* free_mutex held. */
static struct left *take_ripe(struct lsm *l) {
    struct left *ripe = NULL;
    for (struct left **at = &l->lefts, *found; (found = *at) != NULL;) {
        if (!is_ripe(l, found)) {
            at = &found->next;
            continue;
        }
        *at = found->next;
        found->next = ripe;
        ripe = found;
    }
    return ripe;
}

static status gather_freed(struct lsm *l, struct giving *g, struct err *err) {
    mutex_lock(&l->free_mutex);
    g->runs = l->free_runs;
    l->free_runs = NULL;
    g->lefts = take_ripe(l);
    mutex_unlock(&l->free_mutex);
    for (struct left *at = g->lefts; at != NULL; at = at->next) TRY(give(l, g, at->extents, at->count, err));
    for (struct run *r = g->runs; r != NULL; r = r->next_free)
        TRY(give(l, g, r->meta->extents, r->meta->extent_count, err));
    return ST_OK;
}

static void free_left(struct lsm *l, struct left *left) {
    if (left != NULL) mem_free(l->mem, left, sizeof(*left) + left->count * sizeof(left->extents[0]));
}

/* After success frees the runs and places, after failure puts them back. */
static void end_giving(struct lsm *l, struct giving *g, bool is_given) {
    mem_free(l->mem, g->extents, g->cap * sizeof(*g->extents));
    mutex_lock(&l->free_mutex);
    for (struct run **at = &g->runs; !is_given && *at != NULL;) {
        struct run *r = *at;
        *at = r->next_free;
        r->next_free = l->free_runs;
        l->free_runs = r;
    }
    for (struct left **at = &g->lefts; !is_given && *at != NULL;) {
        struct left *left = *at;
        *at = left->next;
        left->next = l->lefts;
        l->lefts = left;
    }
    mutex_unlock(&l->free_mutex);
    for (struct run *r = g->runs, *next; r != NULL; r = next) {
        next = r->next_free;
        segment_unref(r->seg);
        mem_delete(l->mem, r);
    }
    for (struct left *left = g->lefts, *next; left != NULL; left = next) {
        next = left->next;
        free_left(l, left);
    }
}

/* What edit leaves, in memory before the commit; NULL when it is nothing. */
static status new_left(struct lsm *l, const struct tree_edit *edit, struct left **out, struct err *err) {
    *out = NULL;
    if (edit->left_count == 0) return ST_OK;
    struct left *left = mem_alloc(l->mem, sizeof(*left) + edit->left_count * sizeof(left->extents[0]));
    if (left == NULL) return RAISE(err, ST_NOMEM, "freed extents");
    left->count = edit->left_count;
    memcpy(left->extents, edit->left, edit->left_count * sizeof(left->extents[0]));
    *out = left;
    return ST_OK;
}

static void keep_left(struct lsm *l, struct left *left, uint64_t until) {
    if (left == NULL) return;
    left->until = until;
    mutex_lock(&l->free_mutex);
    left->next = l->lefts;
    l->lefts = left;
    mutex_unlock(&l->free_mutex);
}

/* The logs that are needed when everything up to replay_lsn is in segments, and the one prepared for the next memtable. The table itself stays: if
 * the commit fails, the superblock on disk still needs all of them. */
static void list_logs(struct lsm *l, struct store_head *head, uint64_t replay_lsn, uint64_t prepared_id) {
    mutex_lock(&l->log_mutex);
    bool is_listed = l->log_count > 0 && l->logs[l->log_count - 1].id == prepared_id;
    head->log_count = 0;
    for (size_t i = 0; i < l->log_count; i++)
        if (l->logs[i].last_lsn > replay_lsn) head->logs[head->log_count++].id = l->logs[i].id;
    if (prepared_id != 0 && !is_listed && head->log_count < STORE_LOGS_MAX)
        head->logs[head->log_count++].id = prepared_id;
    mutex_unlock(&l->log_mutex);
}

static bool is_named(const struct store_head *head, uint64_t id) {
    for (uint32_t i = 0; i < head->log_count; i++)
        if (head->logs[i].id == id) return true;
    return false;
}

/* After a commit: the prepared log may be used, logs that the superblock does without may go. */
static void settle_logs(struct lsm *l, const struct store_head *head, uint64_t prepared_id) {
    uint64_t ids[STORE_LOGS_MAX];
    size_t kept = 0;
    mutex_lock(&l->log_mutex);
    for (size_t i = 0; i < l->log_count; i++)
        if (is_named(head, l->logs[i].id)) l->logs[kept++] = l->logs[i];
    l->log_count = kept;
    bool is_listed = kept > 0 && l->logs[kept - 1].id == prepared_id;
    if (prepared_id != 0 && !is_listed && is_named(head, prepared_id))
        l->logs[l->log_count++] = (struct listed_log){prepared_id, UINT64_MAX};
    if (prepared_id != 0 && l->logs[l->log_count - 1].id == prepared_id && prepared_id != wal_current_id(l->wal))
        l->has_prepared_log = true;
    mutex_unlock(&l->log_mutex);
    for (uint32_t i = 0; i < head->log_count; i++) ids[i] = head->logs[i].id;
    (void) wal_forget(l->wal, ids, head->log_count, NULL); /* what stays is found unneeded at the next open */
}

static status commit_store(struct lsm *l, const struct manifest *m, struct store_head *head, struct giving *g,
                           struct err *err) {
    struct err own = ERR_INIT;
    uint64_t prepared_id = 0;
    bool is_clean = (head->flags & STORE_CLEAN) != 0;
    if (!is_clean && wal_prepare(l->wal, &prepared_id, NULL) != ST_OK) prepared_id = 0;
    if (!is_clean) list_logs(l, head, head->replay_lsn, prepared_id);
    status st = store_commit(l->store, m, head, g->extents, g->count, &own);
    if (st == ST_OK && !is_clean) settle_logs(l, head, prepared_id);
    /* A store that refuses all further commits ends the writing (K8). One that merely lacks space does not. */
    if (st == ST_IO || st == ST_CORRUPT) lsm_break(l, &own);
    if (st != ST_OK && err != NULL) *err = own;
    return st;
}

static status encode_sequences(struct lsm *l, struct manifest *m, bool is_exact, struct err *err) {
    struct buf out;
    buf_init(&out, l->mem);
    status st = sequence_encode(l, is_exact, &out, err);
    if (st == ST_OK) {
        uint8_t *copy = out.len > 0 ? mem_copy(l->mem, out.p, out.len) : NULL;
        if (out.len > 0 && copy == NULL) {
            st = RAISE(err, ST_NOMEM, "sequences");
        } else {
            mem_free(l->mem, (void *) (uintptr_t) m->sequences.p, m->sequences.len);
            m->sequences = slice_of(copy, out.len);
        }
    }
    buf_release(&out);
    return st;
}

static status add_run(struct manifest *m, const struct run *r, uint32_t level, struct err *err) {
    struct segment_meta meta = *r->meta;
    meta.level = level;
    return manifest_add(m, &meta, err);
}

static status edit_manifest(struct lsm *l, const struct tree_edit *edit, struct manifest *m, struct err *err) {
    const struct version_edit *v = &edit->version;
    for (size_t i = 0; i < v->dropped_count; i++) manifest_remove(m, v->dropped[i]->meta->id);
    for (size_t i = 0; i < v->added_count; i++) TRY(add_run(m, v->added[i], v->added[i]->level, err));
    if (v->moved != NULL) {
        manifest_remove(m, v->moved->meta->id);
        TRY(add_run(m, v->moved, v->to_level, err));
    }
    m->next_segment_id = atomic_load(&l->next_segment_id);
    if (edit->is_flush && edit->last_seq > m->last_seq) m->last_seq = edit->last_seq;
    return encode_sequences(l, m, false, err);
}

static void take_manifest(struct lsm *l, struct manifest *m) {
    manifest_release(&l->manifest);
    l->manifest = *m;
    manifest_init(m, l->mem);
}

status tree_commit(struct lsm *l, const struct tree_edit *edit, struct err *err) {
    struct manifest m;
    struct giving g = {0};
    struct store_head head = l->head;
    struct version *v = NULL;
    struct left *left = NULL;
    manifest_init(&m, l->mem);
    head.flags &= ~(uint32_t) STORE_CLEAN;
    if (edit->is_flush && edit->replay_lsn > head.replay_lsn) head.replay_lsn = edit->replay_lsn;
    status st = lsm_refuse(l, err);
    if (st == ST_OK) st = manifest_copy(&m, &l->manifest, err);
    if (st == ST_OK) st = edit_manifest(l, edit, &m, err);
    if (st == ST_OK) st = gather_freed(l, &g, err);
    if (st == ST_OK) st = new_left(l, edit, &left, err);
    if (st == ST_OK) st = version_prepare(l, &edit->version, &v, err);
    if (st == ST_OK) {
        uint64_t number = v->number;
        st = commit_store(l, &m, &head, &g, err);
        if (st == ST_OK) version_install(l, &edit->version, v);
        else version_discard(l, &edit->version, v);
        if (st == ST_OK) {
            keep_left(l, left, number);
            left = NULL;
        }
    }
    free_left(l, left);
    if (st == ST_OK) {
        take_manifest(l, &m);
        l->head = head;
    }
    end_giving(l, &g, st == ST_OK);
    manifest_release(&m);
    return st;
}

status tree_commit_head(struct lsm *l, uint32_t flags, bool is_exact, struct err *err) {
    struct manifest m;
    struct giving g = {0};
    struct store_head head = l->head;
    manifest_init(&m, l->mem);
    head.flags = flags;
    if ((flags & STORE_CLEAN) != 0) head.log_count = 0;
    status st = manifest_copy(&m, &l->manifest, err);
    m.next_segment_id = atomic_load(&l->next_segment_id);
    if (st == ST_OK) st = encode_sequences(l, &m, is_exact, err);
    if (st == ST_OK) st = gather_freed(l, &g, err);
    if (st == ST_OK) st = commit_store(l, &m, &head, &g, err);
    if (st == ST_OK) {
        take_manifest(l, &m);
        l->head = head;
    }
    end_giving(l, &g, st == ST_OK);
    manifest_release(&m);
    return st;
}
