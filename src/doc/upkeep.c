/* Upkeep: see upkeep.h.
 *
 * Writers count what they write per text index; at TEXT_DUE_AFTER the index is put on a list, once. A thread (db_upkeep_start), or whoever calls
 * db_upkeep, takes it off and consolidates step by step. Each step is a transaction of its own beside a second one that holds the collection's entry
 * shared, as a writer does, so that a drop waits for the step instead of meeting its writes.
 *
 * What is due is only a hint: losing it (no memory, a crash) costs speed until the next TEXT_DUE_AFTER writes, never an answer. */
#include "doc/upkeep.h"

#include "doc/history.h"
#include "doc/multikey.h"
#include "doc/text_of.h"

#define TEXT_DUE_AFTER 1000 /* documents */
#define SESSIONS_EVERY_MS 5000

/* An index that is due; the description only names it. */
struct due {
    struct due *next;
    struct collection *c;
    uint64_t index_id;
};

status upkeep_init(struct upkeep *u, struct err *err) {
    *u = (struct upkeep){0};
    TRY(mutex_init(&u->lock, err));
    status st = cond_init(&u->wake, err);
    if (st != ST_OK) mutex_release(&u->lock);
    return st;
}

static void free_due(struct db *db, struct due *d) {
    collection_unref(d->c);
    mem_delete(db->mem, d);
}

void db_upkeep_stop(struct db *db) {
    struct upkeep *u = &db->upkeep;
    mutex_lock(&u->lock);
    u->is_closing = true;
    cond_broadcast(&u->wake);
    mutex_unlock(&u->lock);
    thread_join(&u->thread);
}

void upkeep_release(struct db *db) {
    struct upkeep *u = &db->upkeep;
    db_upkeep_stop(db);
    while (u->due != NULL) {
        struct due *d = u->due;
        u->due = d->next;
        free_due(db, d);
    }
    cond_release(&u->wake);
    mutex_release(&u->lock);
}

static void push_due(struct upkeep *u, struct due *d) {
    mutex_lock(&u->lock);
    d->next = u->due;
    u->due = d;
    cond_signal(&u->wake);
    mutex_unlock(&u->lock);
}

void upkeep_note_text(struct db *db, struct collection *c, const struct index *ix) {
    struct multikey *m = ix->flags;
    if (atomic_fetch_add_explicit(&m->text_writes, 1, memory_order_relaxed) + 1 < TEXT_DUE_AFTER ||
        ix->state != INDEX_READY)
        return;
    if (atomic_exchange(&m->is_due, true)) return;
    struct due *d = mem_new(db->mem, struct due);
    if (d == NULL) {
        atomic_store(&m->is_due, false);
        return;
    }
    d->c = collection_ref(c);
    d->index_id = ix->id;
    push_due(&db->upkeep, d);
}

/* The index as it is now. ST_NOT_FOUND when it is gone. */
static status find_index(struct op *op, struct kv_txn *txn, const struct due *d, struct collection **c,
                         struct index **out, struct err *err) {
    TRY(catalog_find(op, txn, d->c->ns, c, err));
    for (uint32_t i = 0; (*c)->id == d->c->id && i < (*c)->index_count; i++) {
        if ((*c)->indexes[i].id != d->index_id || (*c)->indexes[i].state != INDEX_READY) continue;
        *out = &(*c)->indexes[i];
        return ST_OK;
    }
    return ST_NOT_FOUND;
}

static status consolidate_step(struct op *op, const struct due *d, bool *more, struct err *err) {
    struct kv_txn *gate = NULL;
    struct collection *c = NULL;
    struct index *ix = NULL;
    *more = false;
    TRY(db_begin(op->db, false, &gate, err));
    status st = find_index(op, gate, d, &c, &ix, err);
    if (st == ST_OK) {
        atomic_store(&ix->flags->text_writes, 0);
        st = kv_lock_shared(gate, c->catalog_key, 0, err); /* a change of the collection goes first */
    }
    if (st == ST_OK) {
        struct text_index text = text_of(op, c, ix);
        st = text_consolidate(&text, op->mem, more, err);
    }
    if (ix != NULL && !*more) atomic_store(&ix->flags->is_due, false);
    collection_unref(c);
    kv_abort(gate);
    return st == ST_NOT_FOUND || st == ST_BUSY || st == ST_STALE ? ST_OK : st;
}

/* `wait`: for a while at most, so that there is time for sessions in between. */
static struct due *take_due(struct upkeep *u, bool wait) {
    mutex_lock(&u->lock);
    if (wait && u->due == NULL && !u->is_closing) {
        if (u->sessions != NULL) (void) cond_wait_ms(&u->wake, &u->lock, SESSIONS_EVERY_MS);
        else cond_wait(&u->wake, &u->lock);
    }
    struct due *d = u->is_closing ? NULL : u->due;
    if (d != NULL) u->due = d->next;
    mutex_unlock(&u->lock);
    return d;
}

status db_upkeep(struct op *op, bool *more, struct err *err) {
    struct upkeep *u = &op->db->upkeep;
    bool again = false;
    *more = false;
    struct due *d = take_due(u, false);
    if (d == NULL) return ST_OK;
    status st = consolidate_step(op, d, &again, err);
    if (st == ST_OK && again) push_due(u, d);
    else free_due(op->db, d);
    mutex_lock(&u->lock);
    *more = u->due != NULL;
    mutex_unlock(&u->lock);
    return st;
}

static bool is_closing(struct upkeep *u) {
    mutex_lock(&u->lock);
    bool yes = u->is_closing;
    mutex_unlock(&u->lock);
    return yes;
}

static void consolidate(struct db *db, struct due *d) {
    struct op op;
    bool more = true;
    op_init(&op, db);
    /* A failure is not reported from here: if it lasts, the next writer meets it. */
    while (more && !is_closing(&db->upkeep))
        if (consolidate_step(&op, d, &more, NULL) != ST_OK) break;
    op_release(&op);
    free_due(db, d);
}

void db_upkeep_sessions(struct db *db) {
    struct sessions *ss = db->upkeep.sessions;
    struct op op;
    if (ss == NULL || !sessions_sweep(ss) || db->is_read_only) return;
    op_init(&op, db);
    (void) history_sweep(&op, ss, NULL); /* what stays is removed the next time */
    op_release(&op);
}

void db_upkeep_watch(struct db *db, struct sessions *sessions) { db->upkeep.sessions = sessions; }

struct sessions *db_sessions(struct db *db) { return db->upkeep.sessions; }

static void *run(void *ctx) {
    struct db *db = ctx;
    while (!is_closing(&db->upkeep)) {
        struct due *d = take_due(&db->upkeep, true);
        if (d != NULL) consolidate(db, d);
        if (!is_closing(&db->upkeep)) db_upkeep_sessions(db);
    }
    return NULL;
}

status db_upkeep_start(struct db *db, struct err *err) {
    return db->is_read_only ? ST_OK : thread_start(&db->upkeep.thread, run, db, err);
}
