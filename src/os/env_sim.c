/* The simulated machine; see env_sim.h for what it does and how it is used.
 * Its disk is in sim_disk.h; here are the calls of an env, what may go wrong with each, and the switch.
 *
 * Threads: one mutex around everything. The simulation's own memory comes from the default allocator; when that fails, it
 * says ST_NOMEM, or keeps an older page: tests of memory use the hook of the code under test. */
#include "os/env_sim.h"

#include <stdio.h>
#include <string.h>

#include "os/sim_disk.h"
#include "os/thread.h"

struct sim {
    struct env env;
    struct mutex lock;
    struct sim_disk disk;
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
static bool one_in(struct sim *sim, uint64_t n) { return chance_below(&sim->disk.chance, n) == 0; }

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
    for (const struct node *n = sim->disk.nodes; n != NULL; n = n->next)
        if (n->open_count != 0 || sim_is_named(&sim->disk.now, n)) sum += used_by(n);
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
    if (st == ST_OK) sim_read_pages(sf->node, at, p, len);
    mutex_unlock(&sf->sim->lock);
    return st;
}

static status sim_write_at(struct file *f, uint64_t at, const void *p, size_t len, struct err *err) {
    struct sim_file *sf = file_of(f);
    struct sim *sim = sf->sim;
    bool partly;
    mutex_lock(&sim->lock);
    status st = before_file_call(sf, SIM_WRITE, &partly, err);
    size_t part = st == ST_OK ? len : partly ? (size_t) chance_below(&sim->disk.chance, len + 1) : 0;
    uint64_t room = room_for(sim, sf->node);
    if (at + part > room && at + part > sf->node->len_now) {
        part = at < room ? (size_t) (room - at) : 0;
        if (st == ST_OK) st = RAISE(err, ST_NO_SPACE, "%s: the simulated disk is full", sf->path);
    }
    if (!sim_write_pages(&sim->disk, sf->node, at, p, part) && st == ST_OK) st = RAISE(err, ST_NOMEM, "%s", sf->path);
    mutex_unlock(&sim->lock);
    return st;
}

static status sim_sync(struct file *f, struct err *err) {
    struct sim_file *sf = file_of(f);
    bool partly;
    mutex_lock(&sf->sim->lock);
    status st = before_file_call(sf, SIM_SYNC, &partly, err);
    if (st == ST_OK) sim_sync_node(&sf->sim->disk, sf->node);
    else if (partly && !sf->sim->is_off) sim_sync_node_badly(&sf->sim->disk, sf->node);
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
    if ((st == ST_OK || (partly && one_in(sf->sim, 2))) && !sim_set_len(&sf->sim->disk, sf->node, len) && st == ST_OK)
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
        sim_sweep(&sim->disk);
    }
    mutex_unlock(&sim->lock);
    sim_free_text(&sim->disk, sf->path);
    mem_delete(sim->disk.own, sf);
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
    struct name *name = sim_find_name(&sim->disk.now, path);
    struct node *n = name != NULL ? name->node : NULL;
    if (n != NULL && (flags & FILE_EXCLUSIVE) != 0) return RAISE(err, ST_DUPLICATE, "%s exists", path);
    if (n == NULL) {
        if ((flags & FILE_CREATE) == 0) return ST_NOT_FOUND;
        n = mem_new(sim->disk.own, struct node);
        if (n == NULL) return RAISE(err, ST_NOMEM, "open %s", path);
        n->next = sim->disk.nodes;
        sim->disk.nodes = n;
        if (!sim_set_name(&sim->disk, &sim->disk.now, path, n) ||
            !sim_note_change(&sim->disk, CHANGE_CREATE, path, NULL, n))
            return RAISE(err, ST_NOMEM, "open %s", path);
    }
    if ((flags & FILE_TRUNCATE) != 0 && !sim_set_len(&sim->disk, n, 0)) return RAISE(err, ST_NOMEM, "open %s", path);
    *out = n;
    return ST_OK;
}

static status sim_open(struct env *env, const char *path, unsigned flags, struct file **out, struct err *err) {
    struct sim *sim = sim_of(env);
    struct node *n = NULL;
    bool partly;
    struct sim_file *sf = mem_new(sim->disk.own, struct sim_file);
    char *copy = sim_copy_text(&sim->disk, path);
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
        if (sf != NULL) mem_delete(sim->disk.own, sf);
        sim_free_text(&sim->disk, copy);
    }
    return st;
}

static status sim_unlink(struct env *env, const char *path, struct err *err) {
    struct sim *sim = sim_of(env);
    bool partly;
    mutex_lock(&sim->lock);
    status st = before_call(sim, SIM_UNLINK, sim->boot, path, &partly, err);
    struct name *name = sim_find_name(&sim->disk.now, path);
    if (st == ST_OK && name == NULL) st = ST_NOT_FOUND;
    if (name != NULL && (st == ST_OK || (partly && one_in(sim, 2)))) {
        (void) sim_note_change(&sim->disk, CHANGE_UNLINK, path, NULL, name->node);
        sim_drop_name(&sim->disk, &sim->disk.now, path);
        sim_sweep(&sim->disk);
    }
    mutex_unlock(&sim->lock);
    return st;
}

static status sim_rename(struct env *env, const char *from, const char *to, struct err *err) {
    struct sim *sim = sim_of(env);
    bool partly;
    mutex_lock(&sim->lock);
    status st = before_call(sim, SIM_RENAME, sim->boot, from, &partly, err);
    struct name *name = sim_find_name(&sim->disk.now, from);
    if (st == ST_OK && name == NULL) st = RAISE(err, ST_IO, "rename %s: no such file", from);
    if (name != NULL && strcmp(from, to) != 0 && (st == ST_OK || (partly && one_in(sim, 2)))) {
        struct node *n = name->node;
        if (!sim_note_change(&sim->disk, CHANGE_RENAME, from, to, n) ||
            !sim_set_name(&sim->disk, &sim->disk.now, to, n)) {
            if (st == ST_OK) st = RAISE(err, ST_NOMEM, "rename %s", from);
        } else {
            sim_drop_name(&sim->disk, &sim->disk.now, from);
            sim_sweep(&sim->disk);
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
        sim_settle_changes(&sim->disk, path, true);
        sim_sweep(&sim->disk);
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
    for (size_t i = 0; st == ST_OK && i < sim->disk.now.count; i++)
        if (sim_same_directory(sim->disk.now.names[i].path, path) &&
            !sim_set_name(&sim->disk, &copy, sim->disk.now.names[i].path, NULL))
            st = RAISE(err, ST_NOMEM, "list %s", path);
    mutex_unlock(&sim->lock);
    for (size_t i = 0; i < copy.count; i++) {
        const char *slash = strrchr(copy.names[i].path, '/');
        if (st == ST_OK) st = visit(ctx, slash != NULL ? slash + 1 : copy.names[i].path);
        sim_free_text(&sim->disk, copy.names[i].path);
    }
    mem_free(sim->disk.own, copy.names, copy.cap * sizeof(*copy.names));
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
    for (size_t i = 0; i < len; i++) ((uint8_t *) p)[i] = (uint8_t) (chance_next(&sim->disk.chance) >> 56);
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
    sim->disk.own = mem_default();
    chance_init(&sim->disk.chance, seed);
    status st = mutex_init(&sim->lock, err);
    if (st != ST_OK) mem_delete(mem_default(), sim);
    else *out = sim;
    return st;
}

static void free_table(struct sim *sim, struct table *t) {
    while (t->count != 0) sim_free_text(&sim->disk, t->names[--t->count].path);
    mem_free(sim->disk.own, t->names, t->cap * sizeof(*t->names));
    *t = (struct table){0};
}

void sim_free(struct sim *sim) {
    if (sim == NULL) return;
    sim_settle_changes(&sim->disk, NULL, false);
    mem_free(sim->disk.own, sim->disk.changes, sim->disk.change_cap * sizeof(*sim->disk.changes));
    free_table(sim, &sim->disk.now);
    free_table(sim, &sim->disk.stored);
    while (sim->disk.nodes != NULL) {
        struct node *n = sim->disk.nodes;
        sim->disk.nodes = n->next;
        sim_free_node(&sim->disk, n);
    }
    mutex_release(&sim->lock);
    mem_delete(sim->disk.own, sim);
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
        : luck == 1          ? sim->disk.change_count
                             : (size_t) chance_below(&sim->disk.chance, sim->disk.change_count + 1);
    bool in_order = one_in(sim, 2);
    for (size_t i = 0; i < sim->disk.change_count; i++)
        if (luck < 2 || in_order ? i < first : one_in(sim, 2)) sim_apply_change(&sim->disk, &sim->disk.changes[i]);
    sim_settle_changes(&sim->disk, NULL, false);
    free_table(sim, &sim->disk.now);
    for (size_t i = 0; i < sim->disk.stored.count; i++)
        (void) sim_set_name(&sim->disk, &sim->disk.now, sim->disk.stored.names[i].path, sim->disk.stored.names[i].node);
}

static void start_anew(struct sim *sim) {
    sim->boot++;
    sim->is_off = sim->has_cut = sim->fault_hit = false;
    sim->fault_ops = 0;
    sim_sweep(&sim->disk);
}

void sim_reboot(struct sim *sim) {
    mutex_lock(&sim->lock);
    uint64_t luck = chance_below(&sim->disk.chance, 8); /* 0: nothing unsynced survives, 1: everything */
    settle_names(sim, luck);
    for (struct node *n = sim->disk.nodes; n != NULL; n = n->next) sim_settle_node(&sim->disk, n, luck);
    start_anew(sim);
    mutex_unlock(&sim->lock);
}

void sim_crash_process(struct sim *sim) {
    mutex_lock(&sim->lock);
    for (struct node *n = sim->disk.nodes; n != NULL; n = n->next) {
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
    struct name *name = sim_find_name(&sim->disk.now, path);
    struct node *n = name != NULL ? name->node : NULL;
    bool done = n != NULL && at < n->len_now && sim_grow_pages(&sim->disk, n, (size_t) (at / PAGE_LEN) + 1);
    if (done) {
        struct page *p = &n->pages[at / PAGE_LEN];
        if (p->now == NULL) p->now = mem_zalloc(sim->disk.own, PAGE_LEN);
        done = p->now != NULL;
        if (done) p->now[at % PAGE_LEN] ^= (uint8_t) (1u << (bit & 7));
        if (p->disk != NULL) p->disk[at % PAGE_LEN] ^= (uint8_t) (1u << (bit & 7));
    }
    mutex_unlock(&sim->lock);
    return done;
}
