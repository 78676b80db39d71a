/* See crash_world.h. */
#include "support/crash_world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/endian.h"

#define COUNTER CRASH_KEYS
#define NUMBER (CRASH_KEYS + 1)
#define DELETED (CRASH_KEYS + 2) /* and the following: by slot */

#define FAIL(w, ...)                                                                                                   \
    do {                                                                                                               \
        fprintf(stderr, "seed %llu, commit %u (durable %u): ", (unsigned long long) (w)->seed, (w)->tried,             \
                (w)->durable);                                                                                         \
        cr_assert_fail(__VA_ARGS__);                                                                                   \
    } while (0)

static uint64_t below(struct crash_world *w, uint64_t n) { return chance_below(&w->chance, n); }

void crash_world_init(struct crash_world *w, const struct mem *mem, uint64_t seed) {
    *w = (struct crash_world){.seed = seed, .next_version = 1};
    chance_init(&w->chance, seed);
    cr_assert_eq(sim_new(mem, seed, &w->sim, NULL), ST_OK);
    w->states = calloc(CRASH_COMMITS_MAX, sizeof(*w->states));
    cr_assert(w->states != NULL);
    w->large_one_in = below(w, 3) == 0 ? 60 : 0;
    w->opts = (struct lsm_opts){
        .create = true,
        .sync = below(w, 4) != 0 ? LSM_SYNC_FULL
            : below(w, 2)        ? LSM_SYNC_NORMAL
                                 : LSM_SYNC_OFF,
        .memtable_bytes = (size_t) (6 << 10) << below(w, 3),
        .cache_bytes = 64 << 10,
        .leaf_len = 512,
        .segment_len = (uint64_t) (4 << 10) << below(w, 3),
        .level0_count = 2 + (uint32_t) below(w, 3),
        .level_len = 16 << 10,
        .level_ratio = 2,
        .shrink_free_len = (uint64_t) (4 << 10) << below(w, 8), /* at one end all the time, at the other hardly ever */
        .log_file_len = 16 << 10,
        .log_zero_step = 4 << 10,
        .no_compression = below(w, 2) == 0,
    };
}

void crash_world_release(struct crash_world *w) {
    sim_free(w->sim);
    free(w->states);
}

static struct slice key_of(uint32_t i, char room[24]) {
    return slice_of(room, (size_t) snprintf(room, 24, i % 3 == 0 ? "k%02u" : "key/%04u", i));
}

/* The value that version v of a key has: its length and bytes follow from v. */
static struct slice value_of(const struct crash_world *w, uint32_t v, uint8_t *room) {
    size_t len = 4 + (v * 2654435761u >> 16) % 200;
    if (w->large_one_in != 0 && v % w->large_one_in == 0) len = LARGE_LEN_MIN + v % 5000;
    memset(room, (int) (v & 0xff), len);
    put_le32(room, v);
    return slice_of(room, len);
}
#define VALUE_ROOM (LARGE_LEN_MIN + 8192)

/* --- what must be there --- */

static status read_u64(struct crash_world *w, struct kv_txn *t, const char *key, uint64_t *out, struct err *err) {
    struct kv_value v = KV_VALUE_INIT;
    *out = 0;
    status st = kv_get(t, slice_str(key), &v, err);
    if (st == ST_OK) {
        if (v.bytes.len != 8) FAIL(w, "%s has %zu bytes", key, v.bytes.len);
        *out = get_le64(v.bytes.p);
    }
    kv_value_release(&v);
    return st == ST_NOT_FOUND ? ST_OK : st;
}

static status compare_keys(struct crash_world *w, struct kv_txn *t, const uint32_t *state, struct err *err) {
    static uint8_t room[VALUE_ROOM];
    char name[24];
    for (uint32_t i = 0; i < CRASH_KEYS; i++) {
        struct kv_value v = KV_VALUE_INIT;
        status st = kv_get(t, key_of(i, name), &v, err);
        if (status_failed(st)) return st;
        if ((st == ST_OK) != (state[i] != 0)) FAIL(w, "key %s is %s", name, st == ST_OK ? "there" : "not there");
        if (st == ST_OK && !slice_equal(v.bytes, value_of(w, state[i], room)))
            FAIL(w, "key %s has version %u, not %u", name, get_le32(v.bytes.p), state[i]);
        kv_value_release(&v);
    }
    return ST_OK;
}

static status compare_scan(struct crash_world *w, struct kv_txn *t, const uint32_t *state, bool forward,
                           struct err *err) {
    struct kv_cursor *c;
    uint32_t present = 0, seen = 0;
    struct kv_bounds bounds = {SLICE_LIT("k"), SLICE_LIT("l")};
    for (uint32_t i = 0; i < CRASH_KEYS; i++) present += state[i] != 0;
    TRY(kv_cursor_open(t, &bounds, &c, err));
    status st = forward ? kv_first(c, err) : kv_last(c, err);
    for (; st == ST_OK; st = forward ? kv_next(c, err) : kv_prev(c, err)) seen++;
    kv_cursor_close(c);
    if (st != ST_END) return st;
    if (seen != present) FAIL(w, "a scan sees %u keys of %u", seen, present);
    return ST_OK;
}

static uint32_t load_count(uint32_t version) { return 1 + version * 7 % 24; }

static struct slice load_key(uint32_t slot, uint32_t version, uint32_t i, char room[24]) {
    return slice_of(room, (size_t) snprintf(room, 24, "b%u/%06u/%02u", slot, version, i));
}

static struct slice load_value(const struct crash_world *w, uint32_t version, uint32_t i, uint8_t *room) {
    return value_of(w, version * 32 + i, room);
}

/* How many entries of the load are there, each as it must be. */
static status count_load(struct crash_world *w, struct kv_txn *t, uint32_t slot, uint32_t version, uint32_t *count,
                         struct err *err) {
    static uint8_t room[VALUE_ROOM];
    char lo[24], hi[24], name[24];
    struct kv_cursor *c;
    struct kv_bounds bounds = {load_key(slot, version, 0, lo), load_key(slot, version, 99, hi)};
    TRY(kv_cursor_open(t, &bounds, &c, err));
    uint32_t n = 0;
    status st = kv_first(c, err);
    for (; st == ST_OK; st = kv_next(c, err), n++) {
        struct slice value;
        if (!slice_equal(kv_cursor_key(c), load_key(slot, version, n, name)))
            FAIL(w, "load %u: the key after %u others is wrong", version, n);
        st = kv_cursor_value(c, &value, err);
        if (st != ST_OK) break;
        if (!slice_equal(value, load_value(w, version, n, room))) FAIL(w, "load %u has a wrong value", version);
    }
    kv_cursor_close(c);
    *count = n;
    return st == ST_END ? ST_OK : st;
}

/* `found` NULL: the loads must be as `loads` and `state` say; else those that are unknown may be there or not, and found[slot] tells. */
static status compare_loads(struct crash_world *w, struct kv_txn *t, const uint32_t *state,
                            const struct crash_load *loads, bool *found, struct err *err) {
    for (uint32_t slot = 0; slot < CRASH_SLOTS; slot++) {
        const struct crash_load *load = &loads[slot];
        uint32_t n = 0, all = load_count(load->version);
        if (load->version == 0) continue;
        TRY(count_load(w, t, slot, load->version, &n, err));
        if (n != 0 && n != all) FAIL(w, "load %u has %u of %u entries", load->version, n, all);
        bool may_be = load->is_made || (load->is_unknown && found != NULL);
        if (n != 0 && (!may_be || state[DELETED + slot] >= load->version)) FAIL(w, "load %u is there", load->version);
        if (n == 0 && load->is_made && state[DELETED + slot] < load->version)
            FAIL(w, "load %u is not there", load->version);
        if (found != NULL) found[slot] = n != 0;
    }
    return ST_OK;
}

static status verify_in(struct crash_world *w, struct kv_txn *t, const struct crash_load *loads, bool *found,
                        uint32_t *at, struct err *err) {
    uint64_t commit = 0, counter = 0, number = 0;
    TRY(read_u64(w, t, "commit", &commit, err));
    TRY(read_u64(w, t, "counter", &counter, err));
    TRY(read_u64(w, t, "number", &number, err));
    if (commit > w->tried) FAIL(w, "commit %llu was never made", (unsigned long long) commit);
    const uint32_t *state = w->states[commit];
    if (counter != state[COUNTER] || number != state[NUMBER])
        FAIL(w, "at commit %llu the counter is %llu, not %u; the number %llu, not %u", (unsigned long long) commit,
             (unsigned long long) counter, state[COUNTER], (unsigned long long) number, state[NUMBER]);
    TRY(compare_keys(w, t, state, err));
    TRY(compare_scan(w, t, state, true, err));
    TRY(compare_scan(w, t, state, false, err));
    TRY(compare_loads(w, t, state, loads, found, err));
    *at = (uint32_t) commit;
    return ST_OK;
}

static status verify(struct crash_world *w, bool *found, uint32_t *at, struct err *err) {
    struct kv_txn *t;
    TRY(kv_begin(w->kv, true, &t, err));
    status st = verify_in(w, t, w->loads, found, at, err);
    kv_abort(t);
    return st;
}

void crash_world_verify(struct crash_world *w, status allowed) {
    uint32_t at = 0;
    struct err err = ERR_INIT;
    status st = verify(w, NULL, &at, &err);
    if (st == allowed && st != ST_OK) return;
    if (st != ST_OK) FAIL(w, "verify: %s", err.text);
    if (at != w->visible) FAIL(w, "commit %u is the last seen, not %u", at, w->visible);
}

static void fault(void *ctx, const char *text) { FAIL((struct crash_world *) ctx, "check: %s", text); }

void crash_world_check(struct crash_world *w) {
    struct err err = ERR_INIT;
    if (lsm_kv_check(w->kv, fault, w, &err) != ST_OK) FAIL(w, "check: %s", err.text);
}

status crash_world_open(struct crash_world *w, struct err *err) {
    TRY(lsm_kv_open(sim_env(w->sim), "crash.elmo", &w->opts, &w->kv, err));
    uint32_t at;
    bool found[CRASH_SLOTS] = {false};
    status st = verify(w, found, &at, err);
    if (st != ST_OK) {
        crash_world_close(w);
        return st;
    }
    uint32_t least = w->durable;
    if (w->process_crash_only && w->visible > least) least = w->visible;
    if (at < least) FAIL(w, "commit %u is the last there: an acknowledged one is lost", at);
    w->last_number = w->states[at][NUMBER];
    for (uint32_t slot = 0; slot < CRASH_SLOTS; slot++)
        if (w->loads[slot].is_unknown)
            w->loads[slot] = (struct crash_load){.version = w->loads[slot].version, .is_made = found[slot]};
    w->tried = w->visible = w->durable = at; /* a recovered state is in segments */
    return ST_OK;
}

static void end_reader(struct crash_world *w) {
    kv_cursor_close(w->reader_cursor);
    kv_abort(w->reader);
    w->reader = NULL;
}

void crash_world_close(struct crash_world *w) {
    if (w->reader != NULL) end_reader(w);
    kv_close(w->kv);
    w->kv = NULL;
}

/* --- what happens --- */

static status write_key(struct crash_world *w, struct kv_txn *t, uint32_t *state, struct err *err) {
    static uint8_t room[VALUE_ROOM];
    char name[24];
    uint32_t i = (uint32_t) below(w, CRASH_KEYS);
    struct slice key = key_of(i, name);
    uint64_t how = below(w, 10);
    if (how < 7) {
        uint32_t v = w->next_version++;
        TRY(kv_put(t, key, value_of(w, v, room), err));
        state[i] = v;
    } else if (how < 9) {
        TRY(kv_delete(t, key, err));
        state[i] = 0;
    } else if (below(w, 3) == 0) { /* a range of the keys "key/...": those not divisible by 3 */
        char to[24];
        uint32_t hi = i + 1 + (uint32_t) below(w, 8);
        if (i % 3 == 0) return ST_OK;
        TRY(kv_delete_range(t, key, slice_of(to, (size_t) snprintf(to, sizeof(to), "key/%04u", hi)), err));
        for (uint32_t k = i; k < hi && k < CRASH_KEYS; k++)
            if (k % 3 != 0) state[k] = 0;
    }
    return ST_OK;
}

static status empty_slot(struct crash_world *w, struct kv_txn *t, uint32_t *state, struct err *err) {
    uint32_t slot = (uint32_t) below(w, CRASH_SLOTS);
    char lo[8], hi[8];
    (void) snprintf(lo, sizeof(lo), "b%u/", slot);
    (void) snprintf(hi, sizeof(hi), "b%u0", slot);
    TRY(kv_delete_range(t, slice_str(lo), slice_str(hi), err));
    state[DELETED + slot] = w->loads[slot].version;
    return ST_OK;
}

static status write_all(struct crash_world *w, struct kv_txn *t, uint32_t *state, struct err *err) {
    uint8_t bytes[8];
    for (uint64_t n = 1 + below(w, 6); n > 0; n--) TRY(write_key(w, t, state, err));
    if (below(w, 12) == 0) TRY(empty_slot(w, t, state, err));
    TRY(kv_add(t, SLICE_LIT("counter"), 1, err));
    state[COUNTER]++;
    if (below(w, 8) == 0) {
        uint64_t number;
        TRY(kv_sequence(w->kv, SLICE_LIT("ids"), 1, &number, err));
        if (number <= w->last_number) FAIL(w, "the number %llu was given before", (unsigned long long) number);
        w->last_number = number;
        put_le64(bytes, number);
        TRY(kv_put(t, SLICE_LIT("number"), slice_of(bytes, 8), err));
        state[NUMBER] = (uint32_t) number;
    }
    put_le64(bytes, w->tried + 1);
    return kv_put(t, SLICE_LIT("commit"), slice_of(bytes, 8), err);
}

static status commit(struct crash_world *w, struct err *err) {
    struct kv_txn *t;
    TRY(kv_begin(w->kv, false, &t, err));
    cr_assert_lt(w->tried + 1, CRASH_COMMITS_MAX);
    uint32_t *state = w->states[w->tried + 1];
    memcpy(state, w->states[w->visible], sizeof(*w->states));
    status st = write_all(w, t, state, err);
    if (st != ST_OK) {
        kv_abort(t);
        return st;
    }
    bool later = below(w, 4) == 0;
    st = kv_commit(t, later ? KV_SYNC_LATER : KV_SYNC, err);
    if (st == ST_OK || st == ST_OUTCOME_UNKNOWN) w->tried++;
    if (st != ST_OK) return st;
    w->visible = w->tried;
    if (!later && w->opts.sync == LSM_SYNC_FULL) w->durable = w->visible;
    return ST_OK;
}

/* A load into a slot that is empty, with commits in between that may empty it before it is made. */
static status load(struct crash_world *w, struct err *err) {
    static uint8_t room[VALUE_ROOM];
    uint32_t slot = (uint32_t) below(w, CRASH_SLOTS), before = w->visible;
    struct crash_load *load = &w->loads[slot];
    struct kv_txn *t;
    struct kv_bulk *b;
    char name[24];
    if (load->is_unknown || (load->is_made && w->states[w->visible][DELETED + slot] < load->version)) return ST_OK;
    TRY(kv_begin(w->kv, true, &t, err));
    status st = kv_bulk_begin(t, &b, err);
    if (st != ST_OK) {
        kv_abort(t);
        return st;
    }
    *load = (struct crash_load){.version = ++w->load_version};
    for (uint32_t i = 0; i < load_count(load->version) && st == ST_OK; i++)
        st = kv_bulk_put(b, load_key(slot, load->version, i, name), load_value(w, load->version, i, room), err);
    for (uint64_t n = below(w, 3); n > 0 && st == ST_OK; n--) st = commit(w, err);
    if (st == ST_OK) {
        st = kv_bulk_commit(b, err);
        load->is_made = st == ST_OK;
        load->is_unknown = st != ST_OK;
        if (st == ST_OK && before > w->durable) w->durable = before;
    } else {
        kv_bulk_abort(b);
    }
    kv_abort(t);
    return st;
}

static status begin_reader(struct crash_world *w, struct err *err) {
    TRY(kv_begin(w->kv, true, &w->reader, err));
    status st = kv_cursor_open(w->reader, &(struct kv_bounds){SLICE_LIT("k"), SLICE_LIT("l")}, &w->reader_cursor, err);
    if (st != ST_OK) {
        kv_abort(w->reader);
        w->reader = NULL;
        return st;
    }
    w->reader_at = w->visible;
    memcpy(w->reader_loads, w->loads, sizeof(w->loads));
    st = kv_first(w->reader_cursor, err); /* pins what is there now */
    if (st != ST_END && st != ST_OK) end_reader(w);
    return status_failed(st) ? st : ST_OK;
}

/* Looks at everything again: nothing has changed for it. */
static status finish_reader(struct crash_world *w, struct err *err) {
    uint32_t at = w->reader_at, seen = 0, present = 0;
    status st = kv_first(w->reader_cursor, err);
    for (; st == ST_OK; st = kv_next(w->reader_cursor, err), seen++) {
        struct slice value;
        st = kv_cursor_value(w->reader_cursor, &value, err);
        if (st != ST_OK) break;
    }
    if (st == ST_END) {
        for (uint32_t i = 0; i < CRASH_KEYS; i++) present += w->states[at][i] != 0;
        if (seen != present) FAIL(w, "a reader of commit %u sees %u keys of %u", at, seen, present);
        st = verify_in(w, w->reader, w->reader_loads, NULL, &at, err);
        if (st == ST_OK && at != w->reader_at) FAIL(w, "a reader of commit %u sees commit %u", w->reader_at, at);
    }
    end_reader(w);
    return st;
}

status crash_world_step(struct crash_world *w, struct err *err) {
    uint64_t how = below(w, 100);
    if (how < 82) return commit(w, err);
    if (how < 86) return load(w, err);
    if (how < 88) return w->reader == NULL ? begin_reader(w, err) : finish_reader(w, err);
    status st = ST_OK;
    uint32_t before = w->visible;
    if (how < 91) {
        st = kv_sync(w->kv, err);
        if (st == ST_OK && w->opts.sync == LSM_SYNC_FULL) w->durable = before;
    } else if (how < 93) {
        st = lsm_kv_flush(w->kv, err);
        if (st == ST_OK) w->durable = before;
    } else if (how < 95) {
        st = lsm_kv_maintain(w->kv, err);
    } else if (how < 98) {
        st = lsm_kv_compact(w->kv, err);
        if (st == ST_OK) w->durable = before;
    } else {
        uint32_t at;
        st = verify(w, NULL, &at, err);
        if (st == ST_OK && at != w->visible) FAIL(w, "commit %u is the last seen, not %u", at, w->visible);
    }
    return st;
}
