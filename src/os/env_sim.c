/* The simulated machine; see env_sim.h for what it does and how it is used.
 *
 *   names: path -> node, as the running system sees them (now) and as the disk has them (disk); `changes` turn disk into now
 *   node:  pages, each CLEAN (cache and disk agree), DIRTY (a sync would write it) or FORGOTTEN (a sync failed: nothing will)
 *
 * Threads: one mutex around everything. The simulation's own memory comes from the default allocator; when that fails, it
 * says ST_NOMEM, or keeps an older page: tests of memory use the hook of the code under test. */
#include "os/env_sim.h"

#include <stdio.h>
#include <string.h>

#include "base/chance.h"
#include "os/thread.h"

#define PAGE_LEN 4096u
#define SECTOR_LEN 512u

enum page_state { PAGE_CLEAN, PAGE_DIRTY, PAGE_FORGOTTEN };

struct page {
    uint8_t *now;  /* NULL: zeros */
    uint8_t *disk; /* when not CLEAN; NULL: zeros */
    enum page_state state;
};

struct node {
    struct node *next;
    struct page *pages;
    size_t page_count, page_cap;
    uint64_t len_now, len_disk;
    uint32_t open_count, shared_locks;
    bool is_locked;
};

struct name {
    char *path;
    struct node *node;
};

struct table {
    struct name *names;
    size_t count, cap;
};

enum change_kind { CHANGE_CREATE, CHANGE_UNLINK, CHANGE_RENAME };

struct change {
    enum change_kind kind;
    char *path, *to; /* to: of a rename */
    struct node *node;
};

struct sim {
    struct env env;
    const struct mem *own;
    struct mutex lock;
    struct chance chance;
    struct node *nodes;
    struct table now, disk;
    struct change *changes;
    size_t change_count, change_cap;
    uint64_t boot; /* handles of an earlier boot are dead */
    uint64_t calls, clock_ns, capacity;
    bool is_off, has_cut;
    uint64_t cut_after; /* changing calls that still work */
    unsigned fault_ops;
    uint64_t fault_in;
    status fault_st;
    bool fault_for_good, fault_hit;
};

struct sim_file {
    struct file file;
    struct sim *sim;
    struct node *node;
    char *path;
    uint64_t boot;
    bool is_read_only, holds_shared, holds_exclusive;
};

static struct sim *sim_of(struct env *env) { return (struct sim *) env; }
static struct sim_file *file_of(struct file *f) { return (struct sim_file *) f; }
static bool one_in(struct sim *sim, uint64_t n) { return chance_below(&sim->chance, n) == 0; }

static char *copy_text(struct sim *sim, const char *s) { return mem_copy(sim->own, s, strlen(s) + 1); }
static void free_text(struct sim *sim, char *s) {
    if (s != NULL) mem_free(sim->own, s, strlen(s) + 1);
}

/* --- pages --- */

static void free_page_bytes(struct sim *sim, uint8_t **p) {
    mem_free(sim->own, *p, PAGE_LEN);
    *p = NULL;
}

static bool grow_pages(struct sim *sim, struct node *n, size_t count) {
    if (!mem_grow(sim->own, (void **) &n->pages, &n->page_cap, count, sizeof(*n->pages))) return false;
    while (n->page_count < count) n->pages[n->page_count++] = (struct page){0};
    return true;
}

static void copy_sector(uint8_t *to, const uint8_t *from, unsigned sector) {
    if (from != NULL) memcpy(to + sector * SECTOR_LEN, from + sector * SECTOR_LEN, SECTOR_LEN);
    else memset(to + sector * SECTOR_LEN, 0, SECTOR_LEN);
}

/* Some sectors of the cached page reach the disk, but it stays dirty. */
static void write_back_some(struct sim *sim, struct page *p) {
    if (p->disk == NULL) p->disk = mem_zalloc(sim->own, PAGE_LEN);
    uint64_t which = chance_next(&sim->chance);
    for (unsigned i = 0; p->disk != NULL && i < PAGE_LEN / SECTOR_LEN; i++)
        if ((which >> i & 1) != 0) copy_sector(p->disk, p->now, i);
}

static void clean_page(struct sim *sim, struct page *p) {
    free_page_bytes(sim, &p->disk);
    p->state = PAGE_CLEAN;
}

/* Makes the page different from the disk's. */
static bool dirty_page(struct sim *sim, struct page *p) {
    if (p->state == PAGE_CLEAN) {
        if (p->now != NULL && (p->disk = mem_copy(sim->own, p->now, PAGE_LEN)) == NULL) return false;
    } else if (p->state == PAGE_DIRTY && one_in(sim, 16)) {
        write_back_some(sim, p);
    }
    p->state = PAGE_DIRTY;
    if (p->now == NULL) p->now = mem_zalloc(sim->own, PAGE_LEN);
    return p->now != NULL;
}

static bool write_pages(struct sim *sim, struct node *n, uint64_t at, const uint8_t *p, size_t len) {
    if (len == 0) return true;
    if (!grow_pages(sim, n, (size_t) ((at + len + PAGE_LEN - 1) / PAGE_LEN))) return false;
    while (len != 0) {
        struct page *page = &n->pages[at / PAGE_LEN];
        size_t off = (size_t) (at % PAGE_LEN), part = len < PAGE_LEN - off ? len : PAGE_LEN - off;
        if (!dirty_page(sim, page)) return false;
        memcpy(page->now + off, p, part);
        at += part;
        p += part;
        len -= part;
        if (at > n->len_now) n->len_now = at;
    }
    return true;
}

static void read_pages(const struct node *n, uint64_t at, uint8_t *p, size_t len) {
    while (len != 0) {
        size_t idx = (size_t) (at / PAGE_LEN), off = (size_t) (at % PAGE_LEN);
        size_t part = len < PAGE_LEN - off ? len : PAGE_LEN - off;
        if (idx < n->page_count && n->pages[idx].now != NULL) memcpy(p, n->pages[idx].now + off, part);
        else memset(p, 0, part);
        at += part;
        p += part;
        len -= part;
    }
}

static bool set_len(struct sim *sim, struct node *n, uint64_t len) {
    for (size_t i = (size_t) (len / PAGE_LEN); len < n->len_now && i < n->page_count; i++) {
        struct page *page = &n->pages[i];
        uint64_t start = i * (uint64_t) PAGE_LEN;
        if (page->now == NULL) continue;
        if (!dirty_page(sim, page)) return false;
        size_t keep = start < len ? (size_t) (len - start) : 0;
        memset(page->now + keep, 0, PAGE_LEN - keep);
    }
    n->len_now = len;
    return true;
}

static void sync_node(struct sim *sim, struct node *n) {
    for (size_t i = 0; i < n->page_count; i++)
        if (n->pages[i].state == PAGE_DIRTY) clean_page(sim, &n->pages[i]);
    n->len_disk = n->len_now;
}

/* A sync that fails: some pages arrive, the kernel forgets about the others. */
static void sync_node_badly(struct sim *sim, struct node *n) {
    for (size_t i = 0; i < n->page_count; i++) {
        struct page *p = &n->pages[i];
        if (p->state != PAGE_DIRTY) continue;
        switch (chance_below(&sim->chance, 3)) {
        case 0: clean_page(sim, p); break;
        case 1: /* dropped from the cache: reads see the disk again */
            mem_free(sim->own, p->now, PAGE_LEN);
            p->now = p->disk;
            p->disk = NULL;
            p->state = PAGE_CLEAN;
            break;
        default: p->state = PAGE_FORGOTTEN;
        }
    }
    if (one_in(sim, 2)) n->len_disk = n->len_now;
}

/* What the disk has of a page after the power cut. luck: 0 nothing that was not synced, 1 everything, else each its own. */
static void settle_page(struct sim *sim, struct page *p, uint64_t luck) {
    if (p->state == PAGE_CLEAN) return;
    if (p->state == PAGE_DIRTY) {
        uint64_t pick = luck < 2 ? luck : chance_below(&sim->chance, 3);
        if (pick == 1) {
            clean_page(sim, p);
            return;
        }
        if (pick == 2) write_back_some(sim, p);
    }
    mem_free(sim->own, p->now, PAGE_LEN);
    p->now = p->disk;
    p->disk = NULL;
    p->state = PAGE_CLEAN;
}

static void settle_node(struct sim *sim, struct node *n, uint64_t luck) {
    for (size_t i = 0; i < n->page_count; i++) settle_page(sim, &n->pages[i], luck);
    uint64_t lo = n->len_disk, hi = n->len_now;
    if (lo > hi) {
        uint64_t t = lo;
        lo = hi;
        hi = t;
    }
    uint64_t pick = luck < 2 ? luck : chance_below(&sim->chance, 3);
    uint64_t len = pick == 0 ? n->len_disk : pick == 1 ? n->len_now : lo + chance_below(&sim->chance, hi - lo + 1);
    n->len_now = UINT64_MAX; /* so that everything past `len` is cut off */
    (void) set_len(sim, n, len);
    sync_node(sim, n);
    n->open_count = n->shared_locks = 0;
    n->is_locked = false;
}

static void free_node(struct sim *sim, struct node *n) {
    for (size_t i = 0; i < n->page_count; i++) {
        free_page_bytes(sim, &n->pages[i].now);
        free_page_bytes(sim, &n->pages[i].disk);
    }
    mem_free(sim->own, n->pages, n->page_cap * sizeof(*n->pages));
    mem_delete(sim->own, n);
}

/* --- names --- */

static struct name *find_name(struct table *t, const char *path) {
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->names[i].path, path) == 0) return &t->names[i];
    return NULL;
}

static void drop_name(struct sim *sim, struct table *t, const char *path) {
    struct name *n = find_name(t, path);
    if (n == NULL) return;
    free_text(sim, n->path);
    *n = t->names[--t->count];
}

static bool set_name(struct sim *sim, struct table *t, const char *path, struct node *node) {
    struct name *n = find_name(t, path);
    if (n == NULL) {
        char *copy = copy_text(sim, path);
        if (copy == NULL || !mem_grow(sim->own, (void **) &t->names, &t->cap, t->count + 1, sizeof(*t->names))) {
            free_text(sim, copy);
            return false;
        }
        n = &t->names[t->count++];
        n->path = copy;
    }
    n->node = node;
    return true;
}

static bool is_named(const struct table *t, const struct node *node) {
    for (size_t i = 0; i < t->count; i++)
        if (t->names[i].node == node) return true;
    return false;
}

/* Frees nodes that nothing can reach any more. */
static void sweep(struct sim *sim) {
    for (struct node **at = &sim->nodes; *at != NULL;) {
        struct node *n = *at;
        bool is_used = n->open_count != 0 || is_named(&sim->now, n) || is_named(&sim->disk, n);
        for (size_t i = 0; i < sim->change_count && !is_used; i++) is_used = sim->changes[i].node == n;
        if (is_used) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        free_node(sim, n);
    }
}

static bool note_change(struct sim *sim, enum change_kind kind, const char *path, const char *to, struct node *node) {
    struct change c = {kind, copy_text(sim, path), to != NULL ? copy_text(sim, to) : NULL, node};
    if (c.path == NULL || (to != NULL && c.to == NULL) ||
        !mem_grow(sim->own, (void **) &sim->changes, &sim->change_cap, sim->change_count + 1, sizeof(c))) {
        free_text(sim, c.path);
        free_text(sim, c.to);
        return false;
    }
    sim->changes[sim->change_count++] = c;
    return true;
}

static void apply_change(struct sim *sim, const struct change *c) {
    struct name *n = find_name(&sim->disk, c->path);
    switch (c->kind) {
    case CHANGE_CREATE: (void) set_name(sim, &sim->disk, c->path, c->node); break;
    case CHANGE_UNLINK:
        if (n != NULL && n->node == c->node) drop_name(sim, &sim->disk, c->path);
        break;
    case CHANGE_RENAME:
        if (n != NULL && n->node == c->node) drop_name(sim, &sim->disk, c->path);
        (void) set_name(sim, &sim->disk, c->to, c->node);
        break;
    }
}

static bool same_directory(const char *a, const char *b) {
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');
    size_t n = x != NULL ? (size_t) (x - a) : 0, m = y != NULL ? (size_t) (y - b) : 0;
    return n == m && memcmp(a, b, n) == 0;
}

/* Makes the changes in the directory of `path` (NULL: all) durable, or forgets them. */
static void settle_changes(struct sim *sim, const char *path, bool apply) {
    size_t kept = 0;
    for (size_t i = 0; i < sim->change_count; i++) {
        struct change *c = &sim->changes[i];
        if (path != NULL && !same_directory(c->path, path)) {
            sim->changes[kept++] = *c;
            continue;
        }
        if (apply) apply_change(sim, c);
        free_text(sim, c->path);
        free_text(sim, c->to);
    }
    sim->change_count = kept;
}

/* --- what may go wrong --- */

/* Called before each call of kind `op`, under the lock. ST_OK: go on. Otherwise fail with it; *partly: after doing a part. */
static status before_call(struct sim *sim, enum sim_op op, uint64_t boot, const char *path, bool *partly,
                          struct err *err) {
    *partly = false;
    sim->clock_ns += 1000;
    if (sim->is_off || boot != sim->boot) return RAISE(err, ST_IO, "%s: the machine is off", path);
    if ((op & SIM_CHANGING) != 0) {
        sim->calls++;
        if (sim->has_cut && sim->cut_after-- == 0) {
            sim->is_off = *partly = true;
            return RAISE(err, ST_IO, "%s: the power failed", path);
        }
    }
    if ((sim->fault_ops & op) != 0 && sim->fault_in > 0) {
        if (--sim->fault_in == 0) {
            sim->fault_hit = *partly = true;
            if (sim->fault_for_good) sim->fault_in = 1;
            return RAISE(err, sim->fault_st, "%s: simulated fault", path);
        }
    }
    return ST_OK;
}

static status before_file_call(struct sim_file *sf, enum sim_op op, bool *partly, struct err *err) {
    status st = before_call(sf->sim, op, sf->boot, sf->path, partly, err);
    if (st == ST_OK && sf->is_read_only && (op & (SIM_WRITE | SIM_TRUNCATE | SIM_PREALLOCATE)) != 0)
        st = RAISE(err, ST_IO, "%s: opened for reading", sf->path);
    return st;
}

static uint64_t used_by(const struct node *n) { return (n->len_now + PAGE_LEN - 1) / PAGE_LEN * PAGE_LEN; }

static uint64_t used(struct sim *sim) {
    uint64_t sum = 0;
    for (const struct node *n = sim->nodes; n != NULL; n = n->next)
        if (n->open_count != 0 || is_named(&sim->now, n)) sum += used_by(n);
    return sum;
}

/* How long the node may become. */
static uint64_t room_for(struct sim *sim, const struct node *n) {
    if (sim->capacity == 0) return UINT64_MAX;
    uint64_t others = used(sim) - used_by(n);
    return others < sim->capacity ? sim->capacity - others : 0;
}

/* --- files --- */

static status sim_read_at(struct file *f, uint64_t at, void *p, size_t len, struct err *err) {
    struct sim_file *sf = file_of(f);
    bool partly;
    mutex_lock(&sf->sim->lock);
    status st = before_file_call(sf, SIM_READ, &partly, err);
    if (st == ST_OK && (at > sf->node->len_now || len > sf->node->len_now - at))
        st = RAISE(err, ST_CORRUPT, "%s: short read of %zu bytes at %llu", sf->path, len, (unsigned long long) at);
    if (st == ST_OK) read_pages(sf->node, at, p, len);
    mutex_unlock(&sf->sim->lock);
    return st;
}

static status sim_write_at(struct file *f, uint64_t at, const void *p, size_t len, struct err *err) {
    struct sim_file *sf = file_of(f);
    struct sim *sim = sf->sim;
    bool partly;
    mutex_lock(&sim->lock);
    status st = before_file_call(sf, SIM_WRITE, &partly, err);
    size_t part = st == ST_OK ? len : partly ? (size_t) chance_below(&sim->chance, len + 1) : 0;
    uint64_t room = room_for(sim, sf->node);
    if (at + part > room && at + part > sf->node->len_now) {
        part = at < room ? (size_t) (room - at) : 0;
        if (st == ST_OK) st = RAISE(err, ST_NO_SPACE, "%s: the simulated disk is full", sf->path);
    }
    if (!write_pages(sim, sf->node, at, p, part) && st == ST_OK) st = RAISE(err, ST_NOMEM, "%s", sf->path);
    mutex_unlock(&sim->lock);
    return st;
}

static status sim_sync(struct file *f, struct err *err) {
    struct sim_file *sf = file_of(f);
    bool partly;
    mutex_lock(&sf->sim->lock);
    status st = before_file_call(sf, SIM_SYNC, &partly, err);
    if (st == ST_OK) sync_node(sf->sim, sf->node);
    else if (partly && !sf->sim->is_off) sync_node_badly(sf->sim, sf->node);
    mutex_unlock(&sf->sim->lock);
    return st;
}

static status sim_truncate(struct file *f, uint64_t len, struct err *err) {
    struct sim_file *sf = file_of(f);
    bool partly;
    mutex_lock(&sf->sim->lock);
    status st = before_file_call(sf, SIM_TRUNCATE, &partly, err);
    if (st == ST_OK && len > sf->node->len_now && len > room_for(sf->sim, sf->node))
        st = RAISE(err, ST_NO_SPACE, "%s: the simulated disk is full", sf->path);
    if ((st == ST_OK || (partly && one_in(sf->sim, 2))) && !set_len(sf->sim, sf->node, len) && st == ST_OK)
        st = RAISE(err, ST_NOMEM, "%s", sf->path);
    mutex_unlock(&sf->sim->lock);
    return st;
}

static status sim_size(struct file *f, uint64_t *len, struct err *err) {
    struct sim_file *sf = file_of(f);
    bool partly;
    mutex_lock(&sf->sim->lock);
    status st = before_file_call(sf, SIM_SIZE, &partly, err);
    if (st == ST_OK) *len = sf->node->len_now;
    mutex_unlock(&sf->sim->lock);
    return st;
}

static status sim_preallocate(struct file *f, uint64_t at, uint64_t len, struct err *err) {
    struct sim_file *sf = file_of(f);
    struct node *n = sf->node;
    bool partly;
    mutex_lock(&sf->sim->lock);
    status st = before_file_call(sf, SIM_PREALLOCATE, &partly, err);
    if (st == ST_OK && at + len > n->len_now) {
        if (at + len > room_for(sf->sim, n)) st = RAISE(err, ST_NO_SPACE, "%s: the simulated disk is full", sf->path);
        else n->len_now = at + len;
    }
    mutex_unlock(&sf->sim->lock);
    return st;
}

static status sim_lock(struct file *f, enum file_lock kind, struct err *err) {
    struct sim_file *sf = file_of(f);
    struct node *n = sf->node;
    bool partly;
    mutex_lock(&sf->sim->lock);
    status st = before_file_call(sf, SIM_LOCK, &partly, err);
    if (st == ST_OK) {
        bool others_share = n->shared_locks > (sf->holds_shared ? 1u : 0u);
        if ((n->is_locked && !sf->holds_exclusive) || (kind == FILE_LOCK_EXCLUSIVE && others_share)) {
            st = RAISE(err, ST_BUSY, "%s is locked by another user", sf->path);
        } else {
            if (sf->holds_shared) n->shared_locks--;
            if (kind == FILE_LOCK_SHARED) n->shared_locks++;
            n->is_locked = sf->holds_exclusive = kind == FILE_LOCK_EXCLUSIVE;
            sf->holds_shared = kind == FILE_LOCK_SHARED;
        }
    }
    mutex_unlock(&sf->sim->lock);
    return st;
}

static void sim_will_need(struct file *f, uint64_t at, uint64_t len) {
    (void) f;
    (void) at;
    (void) len;
}

static void sim_close(struct file *f) {
    struct sim_file *sf = file_of(f);
    struct sim *sim = sf->sim;
    mutex_lock(&sim->lock);
    if (sf->boot == sim->boot) { /* else the reboot has seen to it, and the node may be gone */
        if (sf->holds_shared) sf->node->shared_locks--;
        if (sf->holds_exclusive) sf->node->is_locked = false;
        sf->node->open_count--;
        sweep(sim);
    }
    mutex_unlock(&sim->lock);
    free_text(sim, sf->path);
    mem_delete(sim->own, sf);
}

static const struct file_ops sim_file_ops = {
    .read_at = sim_read_at,
    .write_at = sim_write_at,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .size = sim_size,
    .preallocate = sim_preallocate,
    .lock = sim_lock,
    .will_need = sim_will_need,
    .close = sim_close,
};

/* --- the env --- */

static status node_for_open(struct sim *sim, const char *path, unsigned flags, struct node **out, struct err *err) {
    struct name *name = find_name(&sim->now, path);
    struct node *n = name != NULL ? name->node : NULL;
    if (n != NULL && (flags & FILE_EXCLUSIVE) != 0) return RAISE(err, ST_DUPLICATE, "%s exists", path);
    if (n == NULL) {
        if ((flags & FILE_CREATE) == 0) return ST_NOT_FOUND;
        n = mem_new(sim->own, struct node);
        if (n == NULL) return RAISE(err, ST_NOMEM, "open %s", path);
        n->next = sim->nodes;
        sim->nodes = n;
        if (!set_name(sim, &sim->now, path, n) || !note_change(sim, CHANGE_CREATE, path, NULL, n))
            return RAISE(err, ST_NOMEM, "open %s", path);
    }
    if ((flags & FILE_TRUNCATE) != 0 && !set_len(sim, n, 0)) return RAISE(err, ST_NOMEM, "open %s", path);
    *out = n;
    return ST_OK;
}

static status sim_open(struct env *env, const char *path, unsigned flags, struct file **out, struct err *err) {
    struct sim *sim = sim_of(env);
    struct node *n = NULL;
    bool partly;
    struct sim_file *sf = mem_new(sim->own, struct sim_file);
    char *copy = copy_text(sim, path);
    mutex_lock(&sim->lock);
    status st = before_call(sim, SIM_OPEN, sim->boot, path, &partly, err);
    if (st == ST_OK && (sf == NULL || copy == NULL)) st = RAISE(err, ST_NOMEM, "open %s", path);
    if (st == ST_OK) st = node_for_open(sim, path, flags, &n, err);
    if (st == ST_OK) {
        n->open_count++;
        *sf = (struct sim_file){.file.ops = &sim_file_ops,
                                .sim = sim,
                                .node = n,
                                .path = copy,
                                .boot = sim->boot,
                                .is_read_only = (flags & FILE_READ_ONLY) != 0};
        *out = &sf->file;
    }
    mutex_unlock(&sim->lock);
    if (st != ST_OK) {
        if (sf != NULL) mem_delete(sim->own, sf);
        free_text(sim, copy);
    }
    return st;
}

static status sim_unlink(struct env *env, const char *path, struct err *err) {
    struct sim *sim = sim_of(env);
    bool partly;
    mutex_lock(&sim->lock);
    status st = before_call(sim, SIM_UNLINK, sim->boot, path, &partly, err);
    struct name *name = find_name(&sim->now, path);
    if (st == ST_OK && name == NULL) st = ST_NOT_FOUND;
    if (name != NULL && (st == ST_OK || (partly && one_in(sim, 2)))) {
        (void) note_change(sim, CHANGE_UNLINK, path, NULL, name->node);
        drop_name(sim, &sim->now, path);
        sweep(sim);
    }
    mutex_unlock(&sim->lock);
    return st;
}

static status sim_rename(struct env *env, const char *from, const char *to, struct err *err) {
    struct sim *sim = sim_of(env);
    bool partly;
    mutex_lock(&sim->lock);
    status st = before_call(sim, SIM_RENAME, sim->boot, from, &partly, err);
    struct name *name = find_name(&sim->now, from);
    if (st == ST_OK && name == NULL) st = RAISE(err, ST_IO, "rename %s: no such file", from);
    if (name != NULL && strcmp(from, to) != 0 && (st == ST_OK || (partly && one_in(sim, 2)))) {
        struct node *n = name->node;
        if (!note_change(sim, CHANGE_RENAME, from, to, n) || !set_name(sim, &sim->now, to, n)) {
            if (st == ST_OK) st = RAISE(err, ST_NOMEM, "rename %s", from);
        } else {
            drop_name(sim, &sim->now, from);
            sweep(sim);
        }
    }
    mutex_unlock(&sim->lock);
    return st;
}

static status sim_sync_dir(struct env *env, const char *path, struct err *err) {
    struct sim *sim = sim_of(env);
    bool partly;
    mutex_lock(&sim->lock);
    status st = before_call(sim, SIM_SYNC_DIR, sim->boot, path, &partly, err);
    if (st == ST_OK) {
        settle_changes(sim, path, true);
        sweep(sim);
    }
    mutex_unlock(&sim->lock);
    return st;
}

static status sim_real_path(struct env *env, const char *path, char **out, struct err *err) {
    *out = mem_copy(env->mem, path, strlen(path) + 1);
    return *out != NULL ? ST_OK : RAISE(err, ST_NOMEM, "resolve %s", path);
}

static status sim_list_dir(struct env *env, const char *path, status (*visit)(void *ctx, const char *name), void *ctx,
                           struct err *err) {
    struct sim *sim = sim_of(env);
    struct table copy = {0};
    status st = ST_OK;
    mutex_lock(&sim->lock);
    if (sim->is_off) st = RAISE(err, ST_IO, "%s: the machine is off", path);
    for (size_t i = 0; st == ST_OK && i < sim->now.count; i++)
        if (same_directory(sim->now.names[i].path, path) && !set_name(sim, &copy, sim->now.names[i].path, NULL))
            st = RAISE(err, ST_NOMEM, "list %s", path);
    mutex_unlock(&sim->lock);
    for (size_t i = 0; i < copy.count; i++) {
        const char *slash = strrchr(copy.names[i].path, '/');
        if (st == ST_OK) st = visit(ctx, slash != NULL ? slash + 1 : copy.names[i].path);
        free_text(sim, copy.names[i].path);
    }
    mem_free(sim->own, copy.names, copy.cap * sizeof(*copy.names));
    return st;
}

static uint64_t sim_monotonic_ns(struct env *env) {
    struct sim *sim = sim_of(env);
    mutex_lock(&sim->lock);
    uint64_t t = sim->clock_ns += 1000;
    mutex_unlock(&sim->lock);
    return t;
}

static uint64_t sim_now_ms(struct env *env) {
    return 1700000000000u + sim_monotonic_ns(env) / 1000000; /* some day in November 2023 */
}

static void sim_random(struct env *env, void *p, size_t len) {
    struct sim *sim = sim_of(env);
    mutex_lock(&sim->lock);
    for (size_t i = 0; i < len; i++) ((uint8_t *) p)[i] = (uint8_t) (chance_next(&sim->chance) >> 56);
    mutex_unlock(&sim->lock);
}

static status sim_secret(struct env *env, void *p, size_t len, struct err *err) {
    (void) err;
    sim_random(env, p, len);
    return ST_OK;
}

static void sim_process_name(struct env *env, char *text, size_t text_len) {
    struct sim *sim = sim_of(env);
    mutex_lock(&sim->lock);
    (void) snprintf(text, text_len, "pid %llu on simulator", (unsigned long long) sim->boot + 1);
    mutex_unlock(&sim->lock);
}

static void sim_env_free(struct env *env) { sim_free(sim_of(env)); }

static const struct env_ops sim_env_ops = {
    .open = sim_open,
    .unlink = sim_unlink,
    .rename = sim_rename,
    .sync_dir = sim_sync_dir,
    .real_path = sim_real_path,
    .list_dir = sim_list_dir,
    .now_ms = sim_now_ms,
    .monotonic_ns = sim_monotonic_ns,
    .random = sim_random,
    .secret = sim_secret,
    .process_name = sim_process_name,
    .free = sim_env_free,
};

/* --- the machine --- */

status sim_new(const struct mem *mem, uint64_t seed, struct sim **out, struct err *err) {
    struct sim *sim = mem_new(mem_default(), struct sim);
    if (sim == NULL) return RAISE(err, ST_NOMEM, "simulation");
    sim->env = (struct env){&sim_env_ops, mem};
    sim->own = mem_default();
    chance_init(&sim->chance, seed);
    status st = mutex_init(&sim->lock, err);
    if (st != ST_OK) mem_delete(mem_default(), sim);
    else *out = sim;
    return st;
}

static void free_table(struct sim *sim, struct table *t) {
    while (t->count != 0) free_text(sim, t->names[--t->count].path);
    mem_free(sim->own, t->names, t->cap * sizeof(*t->names));
    *t = (struct table){0};
}

void sim_free(struct sim *sim) {
    if (sim == NULL) return;
    settle_changes(sim, NULL, false);
    mem_free(sim->own, sim->changes, sim->change_cap * sizeof(*sim->changes));
    free_table(sim, &sim->now);
    free_table(sim, &sim->disk);
    while (sim->nodes != NULL) {
        struct node *n = sim->nodes;
        sim->nodes = n->next;
        free_node(sim, n);
    }
    mutex_release(&sim->lock);
    mem_delete(sim->own, sim);
}

struct env *sim_env(struct sim *sim) {
    return &sim->env;
}

uint64_t sim_calls(struct sim *sim) {
    mutex_lock(&sim->lock);
    uint64_t n = sim->calls;
    mutex_unlock(&sim->lock);
    return n;
}

void sim_power_cut_after(struct sim *sim, uint64_t calls) {
    mutex_lock(&sim->lock);
    sim->has_cut = true;
    sim->cut_after = calls;
    mutex_unlock(&sim->lock);
}

bool sim_is_off(struct sim *sim) {
    mutex_lock(&sim->lock);
    bool off = sim->is_off;
    mutex_unlock(&sim->lock);
    return off;
}

void sim_power_cut(struct sim *sim) {
    mutex_lock(&sim->lock);
    sim->is_off = true;
    mutex_unlock(&sim->lock);
}

/* The changes of names that survive: a first part of them, or any. */
static void settle_names(struct sim *sim, uint64_t luck) {
    size_t first = luck == 0 ? 0
        : luck == 1          ? sim->change_count
                             : (size_t) chance_below(&sim->chance, sim->change_count + 1);
    bool in_order = one_in(sim, 2);
    for (size_t i = 0; i < sim->change_count; i++)
        if (luck < 2 || in_order ? i < first : one_in(sim, 2)) apply_change(sim, &sim->changes[i]);
    settle_changes(sim, NULL, false);
    free_table(sim, &sim->now);
    for (size_t i = 0; i < sim->disk.count; i++)
        (void) set_name(sim, &sim->now, sim->disk.names[i].path, sim->disk.names[i].node);
}

static void start_anew(struct sim *sim) {
    sim->boot++;
    sim->is_off = sim->has_cut = sim->fault_hit = false;
    sim->fault_ops = 0;
    sweep(sim);
}

void sim_reboot(struct sim *sim) {
    mutex_lock(&sim->lock);
    uint64_t luck = chance_below(&sim->chance, 8); /* 0: nothing unsynced survives, 1: everything */
    settle_names(sim, luck);
    for (struct node *n = sim->nodes; n != NULL; n = n->next) settle_node(sim, n, luck);
    start_anew(sim);
    mutex_unlock(&sim->lock);
}

void sim_crash_process(struct sim *sim) {
    mutex_lock(&sim->lock);
    for (struct node *n = sim->nodes; n != NULL; n = n->next) {
        n->open_count = n->shared_locks = 0;
        n->is_locked = false;
    }
    start_anew(sim);
    mutex_unlock(&sim->lock);
}

void sim_fail(struct sim *sim, unsigned ops, uint64_t nth, status st, bool for_good) {
    mutex_lock(&sim->lock);
    sim->fault_ops = ops;
    sim->fault_in = nth;
    sim->fault_st = st;
    sim->fault_for_good = for_good;
    sim->fault_hit = false;
    mutex_unlock(&sim->lock);
}

bool sim_fail_hit(struct sim *sim) {
    mutex_lock(&sim->lock);
    bool hit = sim->fault_hit;
    mutex_unlock(&sim->lock);
    return hit;
}

void sim_heal(struct sim *sim) { sim_fail(sim, 0, 0, ST_OK, false); }

void sim_set_capacity(struct sim *sim, uint64_t len) {
    mutex_lock(&sim->lock);
    sim->capacity = len;
    mutex_unlock(&sim->lock);
}

uint64_t sim_used(struct sim *sim) {
    mutex_lock(&sim->lock);
    uint64_t n = used(sim);
    mutex_unlock(&sim->lock);
    return n;
}

bool sim_flip_bit(struct sim *sim, const char *path, uint64_t at, unsigned bit) {
    mutex_lock(&sim->lock);
    struct name *name = find_name(&sim->now, path);
    struct node *n = name != NULL ? name->node : NULL;
    bool done = n != NULL && at < n->len_now && grow_pages(sim, n, (size_t) (at / PAGE_LEN) + 1);
    if (done) {
        struct page *p = &n->pages[at / PAGE_LEN];
        if (p->now == NULL) p->now = mem_zalloc(sim->own, PAGE_LEN);
        done = p->now != NULL;
        if (done) p->now[at % PAGE_LEN] ^= (uint8_t) (1u << (bit & 7));
        if (p->disk != NULL) p->disk[at % PAGE_LEN] ^= (uint8_t) (1u << (bit & 7));
    }
    mutex_unlock(&sim->lock);
    return done;
}
