/* Opening and creating the database file; see store.h.
 *
 *   missing or empty, `create` ──> lock ──> format: superblock 1 in slot 1 ──> sync ──> sync_dir
 *   else                       ──> lock ──> the newest whole superblock ──> its manifest ──> the map of space
 *
 * Creation writes superblock 1 with an empty manifest in the file itself, so a power cut may leave half of it. Nothing can
 * have been committed before superblock 2 stands in slot 0 (the engine's first commit, which names the first log). So a file
 * that has at most the length of a new one, nothing in slot 0 and no whole superblock is such a leftover: `create` makes it anew. */
#include "storage/announce.h"
#include "storage/store_internal.h"

#include <assert.h>
#include <inttypes.h>

#include "base/codes.h"
#include "base/hash.h"
#include "storage/wal.h"

#define NEW_FILE_LEN (3 * (uint64_t) UNIT_LEN) /* two superblocks and the first manifest */

struct slots {
    struct superblock sb[SUPERBLOCK_SLOTS];
    enum superblock_state state[SUPERBLOCK_SLOTS];
    status st[SUPERBLOCK_SLOTS]; /* of a WHOLE one: whether we can use it */
    struct err err[SUPERBLOCK_SLOTS];
};

static status read_slots(struct store *s, struct slots *slots, struct err *err) {
    uint8_t bytes[UNIT_LEN];
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS; i++) {
        uint64_t at = i * (uint64_t) UNIT_LEN;
        size_t len = s->file_len <= at ? 0 : s->file_len - at < UNIT_LEN ? (size_t) (s->file_len - at) : UNIT_LEN;
        memset(bytes, 0, sizeof(bytes));
        if (len != 0) TRY(file_read(s->file, at, bytes, len, err));
        slots->err[i] = ERR_INIT;
        slots->st[i] = superblock_decode(bytes, i, &slots->sb[i], &slots->state[i], &slots->err[i]);
    }
    return ST_OK;
}

static bool is_leftover(const struct store *s, const struct slots *slots) {
    return s->file_len <= NEW_FILE_LEN && slots->state[0] == SUPERBLOCK_EMPTY &&
        (slots->state[1] == SUPERBLOCK_EMPTY || slots->state[1] == SUPERBLOCK_PARTIAL ||
         slots->state[1] == SUPERBLOCK_TORN);
}

/* The newest superblock that is whole. It must be usable: falling back past a newer format would lose what that one wrote. */
static status choose_slot(struct store *s, const struct slots *slots, struct superblock *out, struct err *err) {
    int best = -1;
    for (int i = 0; i < (int) SUPERBLOCK_SLOTS; i++)
        if (slots->state[i] == SUPERBLOCK_WHOLE &&
            (best < 0 || slots->sb[i].head.generation > slots->sb[best].head.generation))
            best = i;
    if (slots->state[0] == SUPERBLOCK_WHOLE && slots->state[1] == SUPERBLOCK_WHOLE &&
        memcmp(slots->sb[0].head.uuid, slots->sb[1].head.uuid, sizeof(slots->sb[0].head.uuid)) != 0)
        return RAISE(err, ST_CORRUPT, "%s: its two superblocks are of different databases", s->path);
    if (best >= 0) {
        if (slots->st[best] != ST_OK) return RAISE(err, slots->st[best], "%s: %s", s->path, slots->err[best].text);
        *out = slots->sb[best];
        return ST_OK;
    }
    bool is_ours = slots->state[0] == SUPERBLOCK_TORN || slots->state[1] == SUPERBLOCK_TORN;
    if (s->file_len == 0) return RAISE(err, ST_INVALID, "%s is empty or too short: not an elmo database", s->path);
    if (!is_ours) return RAISE(err, ST_INVALID, "%s is not an elmo database", s->path);
    return RAISE(err, ST_CORRUPT, "%s: both superblocks are damaged", s->path);
}

status store_load_manifest(struct store *s, const struct superblock *sb, struct manifest *out, struct err *err) {
    struct buf bytes;
    status st = ST_OK;
    uint64_t rest = sb->manifest_len;
    buf_init(&bytes, s->mem);
    mutex_lock(&s->lock); /* a check runs beside what makes the file longer or shorter */
    uint64_t file_len = s->file_len;
    mutex_unlock(&s->lock);
    /* A length that the file cannot hold is refused before memory is asked for. */
    for (uint32_t i = 0; i < sb->manifest_extent_count; i++)
        if (sb->manifest_extents[i].at + sb->manifest_extents[i].len > file_len) rest = UINT64_MAX;
    if (rest > file_len) {
        st = RAISE(err, ST_CORRUPT, "%s: the manifest lies outside of the file", s->path);
        goto out;
    }
    for (uint32_t i = 0; i < sb->manifest_extent_count && rest != 0; i++) {
        size_t part = (size_t) (rest < sb->manifest_extents[i].len ? rest : sb->manifest_extents[i].len);
        uint8_t *p = buf_extend(&bytes, part);
        if (p == NULL) {
            st = RAISE(err, ST_NOMEM, "manifest of %s", s->path);
            goto out;
        }
        TRY_OUT(file_read(s->file, sb->manifest_extents[i].at, p, part, err));
        rest -= part;
    }
    if (hash64(bytes.p, bytes.len, superblock_seed(sb)) != sb->manifest_checksum) {
        st = RAISE(err, ST_CORRUPT, "%s: the manifest of generation %" PRIu64 " is damaged (checksum)", s->path,
                   sb->head.generation);
        goto out;
    }
    st = manifest_decode(buf_slice(&bytes), out, err);
out:
    buf_release(&bytes);
    return st;
}

/* Everything is free but what the manifest names. */
static status map_space(struct store *s, const struct manifest *m, struct err *err) {
    if (s->file_len > SUPERBLOCKS_LEN)
        TRY(space_give(&s->space, (struct extent){SUPERBLOCKS_LEN, s->file_len - SUPERBLOCKS_LEN}, err));
    for (uint32_t i = 0; i < s->current.manifest_extent_count; i++)
        TRY(store_claim(s, s->current.manifest_extents[i], err));
    for (size_t i = 0; i < m->segment_count; i++)
        for (uint32_t k = 0; k < m->segments[i].extent_count; k++) TRY(store_claim(s, m->segments[i].extents[k], err));
    return ST_OK;
}

/* The newest superblock may stand in the system's cache only: the process that wrote it died before its sync, or the sync
 * failed. Written once more and synced it is durable. The same bytes over themselves cannot be torn. */
static status confirm_newest(struct store *s, struct err *err) { return store_write_superblock(s, &s->current, err); }

/* Makes the free parts of e pending: a segment that moved may have left only a part of its extent. */
static status hold_extent(struct store *s, struct extent e, struct err *err) {
    for (struct extent part; (part = space_part(&s->space, e)).len != 0;) {
        bool was_free = false;
        void *array = s->pending;
        if (!mem_grow(s->mem, &array, &s->pending_cap, s->pending_count + 1, sizeof(*s->pending)))
            return RAISE(err, ST_NOMEM, "space of %s", s->path);
        s->pending = array;
        TRY(space_claim(&s->space, part, &was_free, err));
        assert(was_free);
        s->pending[s->pending_count++] = part;
    }
    return ST_OK;
}

/* What the newest commit freed stays until the next one (T1): the extents of the other slot's manifest that are not in use
 * now. (Those of large values are not named there; confirm_newest makes sure that the older slot is not needed for them.) */
static status hold_older(struct store *s, const struct slots *slots, struct err *err) {
    uint32_t other = (uint32_t) ((s->current.head.generation + 1) % SUPERBLOCK_SLOTS);
    const struct superblock *sb = &slots->sb[other];
    struct manifest older;
    if (slots->state[other] != SUPERBLOCK_WHOLE || slots->st[other] != ST_OK) return ST_OK;
    manifest_init(&older, s->mem);
    status st = store_load_manifest(s, sb, &older, err);
    if (st != ST_OK) { /* torn by reuse or damage: nothing there to protect */
        if (st == ST_CORRUPT || st == ST_UNSUPPORTED) st = ST_OK;
        return st;
    }
    for (size_t i = 0; st == ST_OK && i <= older.segment_count; i++) {
        const struct extent *e = i == 0 ? sb->manifest_extents : older.segments[i - 1].extents;
        uint32_t n = i == 0 ? sb->manifest_extent_count : older.segments[i - 1].extent_count;
        for (uint32_t k = 0; k < n && st == ST_OK; k++) st = hold_extent(s, e[k], err);
    }
    manifest_release(&older);
    return st;
}

static status load(struct store *s, const struct slots *slots, struct manifest *out, struct err *err) {
    struct manifest m;
    manifest_init(&m, s->mem);
    TRY(choose_slot(s, slots, &s->current, err));
    uint32_t other = (uint32_t) ((s->current.head.generation + 1) % SUPERBLOCK_SLOTS);
    s->other_is_torn = slots->state[other] != SUPERBLOCK_WHOLE;
    TRY(store_load_manifest(s, &s->current, &m, err));
    status st = map_space(s, &m, err);
    if (st == ST_OK && !s->read_only) st = hold_older(s, slots, err);
    if (st == ST_OK && !s->read_only) st = confirm_newest(s, err);
    if (st != ST_OK) manifest_release(&m);
    else *out = m;
    return st;
}

/* Writes an empty database into the (empty) file. */
static status format(struct store *s, struct manifest *out, struct err *err) {
    struct buf bytes;
    struct manifest m;
    uint8_t zeros[SUPERBLOCKS_LEN] = {0};
    struct superblock *sb = &s->current;
    status st = ST_OK;
    manifest_init(&m, s->mem);
    buf_init(&bytes, s->mem);
    *sb = (struct superblock){.manifest_extent_count = 1};
    sb->manifest_extents[0] = (struct extent){SUPERBLOCKS_LEN, UNIT_LEN};
    sb->head.format_version = FORMAT_VERSION;
    sb->head.generation = 1;
    sb->head.flags = STORE_CLEAN;
    s->env->ops->random(s->env, sb->head.uuid, sizeof(sb->head.uuid));
    sb->head.uuid[6] = (uint8_t) ((sb->head.uuid[6] & 0x0f) | 0x40); /* RFC 4122: version 4, random */
    sb->head.uuid[8] = (uint8_t) ((sb->head.uuid[8] & 0x3f) | 0x80);
    TRY_OUT(manifest_encode(&m, &bytes, err));
    sb->manifest_len = bytes.len;
    sb->manifest_checksum = hash64(bytes.p, bytes.len, superblock_seed(sb));
    if (!buf_append_zero(&bytes, UNIT_LEN - bytes.len)) {
        st = RAISE(err, ST_NOMEM, "creation of %s", s->path);
        goto out;
    }
    TRY_OUT(s->file->ops->truncate(s->file, 0, err));
    TRY_OUT(file_write(s->file, 0, zeros, sizeof(zeros), err));
    TRY_OUT(file_write(s->file, SUPERBLOCKS_LEN, bytes.p, UNIT_LEN, err));
    TRY_OUT(file_sync(s->file, err));
    TRY_OUT(store_write_superblock(s, sb, err));
    TRY_OUT(s->env->ops->sync_dir(s->env, s->path, err));
    s->file_len = NEW_FILE_LEN;
    TRY_OUT(map_space(s, &m, err));
    *out = m;
out:
    buf_release(&bytes);
    return st;
}

static status open_file(struct store *s, const struct store_opts *opts, struct err *err) {
    unsigned flags = opts->read_only ? FILE_READ_ONLY : opts->create ? FILE_CREATE : 0;
    status st = env_open(s->env, s->path, flags, &s->file, err);
    if (st == ST_NOT_FOUND)
        return err_raise(err, ST_IO, CODE_NamespaceNotFound, __FILE__, __LINE__, "there is no database at %s", s->path);
    TRY(st);
    st = s->file->ops->lock(s->file, opts->read_only ? FILE_LOCK_SHARED : FILE_LOCK_EXCLUSIVE, err);
    if (st == ST_BUSY) {
        char who[128] = "";
        char where[128] = "";
        wal_holder(s->env, s->path, who, sizeof(who));
        announce_read(s->env, s->path, who, where, sizeof(where));
        return RAISE(err, ST_BUSY, "%s is already open%s%s%s%s", s->path, who[0] != '\0' ? " by " : "", who,
                     where[0] != '\0' ? ", which listens on " : "", where);
    }
    TRY(st);
    if (!opts->read_only) announce_remove(s->env, s->path); /* left by a crash */
    TRY(s->file->ops->size(s->file, &s->file_len, err));
    return ST_OK;
}

static status open_or_format(struct store *s, const struct store_opts *opts, struct manifest *out, struct err *err) {
    struct slots *slots = mem_new(s->mem, struct slots);
    if (slots == NULL) return RAISE(err, ST_NOMEM, "open %s", s->path);
    status st = read_slots(s, slots, err);
    if (st != ST_OK) goto out;
    if (is_leftover(s, slots) && opts->create && !opts->read_only) {
        st = format(s, out, err);
        goto out;
    }
    if (opts->exclusive) {
        st = RAISE(err, ST_DUPLICATE, "%s exists", s->path);
        goto out;
    }
    s->file_len = s->file_len / UNIT_LEN * UNIT_LEN;
    st = load(s, slots, out, err);
out:
    mem_delete(s->mem, slots);
    return st;
}

static void free_store(struct store *s) {
    file_close(s->file);
    space_release(&s->space);
    mem_free(s->mem, s->pending, s->pending_cap * sizeof(*s->pending));
    if (s->path != NULL) mem_free(s->mem, s->path, strlen(s->path) + 1);
    mutex_release(&s->commit_lock);
    mutex_release(&s->lock);
    mem_delete(s->mem, s);
}

static status new_store(struct env *env, const struct store_opts *opts, struct store **out, struct err *err) {
    struct store *s = mem_new(env->mem, struct store);
    if (s == NULL) return RAISE(err, ST_NOMEM, "store");
    *s = (struct store){.env = env, .mem = env->mem, .read_only = opts->read_only, .units_max = opts->units_max};
    space_init(&s->space, env->mem);
    status st = mutex_init(&s->commit_lock, err);
    if (st == ST_OK) {
        st = mutex_init(&s->lock, err);
        if (st != ST_OK) mutex_release(&s->commit_lock);
    }
    if (st != ST_OK) mem_delete(env->mem, s);
    else *out = s;
    return st;
}

status store_open(struct env *env, const char *path, const struct store_opts *opts, struct store **out,
                  struct manifest *out_manifest, struct err *err) {
    struct store *s = NULL;
    struct manifest m;
    TRY(new_store(env, opts, &s, err));
    manifest_init(&m, env->mem);
    status st = env->ops->real_path(env, path, &s->path, err);
    if (st == ST_OK) st = open_file(s, opts, err);
    if (st == ST_OK) st = open_or_format(s, opts, &m, err);
    if (st != ST_OK) {
        free_store(s);
        return st;
    }
    *out = s;
    *out_manifest = m;
    return ST_OK;
}

status store_announce(struct store *s, struct slice where, struct err *err) {
    if (s->read_only) return ST_OK;
    if (where.len == 0) {
        if (s->is_announced) announce_remove(s->env, s->path);
        s->is_announced = false;
        return ST_OK;
    }
    s->is_announced = true;
    return announce_write(s->env, s->path, where, err);
}

void store_close(struct store *s) {
    if (s == NULL) return;
    if (s->is_announced) announce_remove(s->env, s->path);
    free_store(s);
}
