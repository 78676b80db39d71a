/* Slowing failed logins down; see auth_delay.h. */
#include "command/auth_delay.h"

#include "base/hash.h"

#define FORGET_NS ((uint64_t) 15 * 60 * 1000000000)
#define STEP_MS 50
#define SLICE_MS 20 /* of a wait: then the op is asked whether it goes on */
#define PAIR_FREE 1 /* failures without consequence */
#define ADDRESS_FREE 9
#define NS_PER_MS ((uint64_t) 1000000)

status auth_delay_init(struct auth_delay *d, struct env *env, struct err *err) {
    *d = (struct auth_delay){.env = env};
    TRY(env->ops->secret(env, &d->seed, sizeof(d->seed), err));
    TRY(mutex_init(&d->lock, err));
    status st = cond_init(&d->never, err);
    if (st != ST_OK) mutex_release(&d->lock);
    return st;
}

void auth_delay_release(struct auth_delay *d) {
    cond_release(&d->never);
    mutex_release(&d->lock);
}

struct auth_attempt auth_attempt_of(const struct auth_delay *d, const char *remote, struct slice user,
                                    struct slice db) {
    const char *colon = strrchr(remote, ':');
    uint64_t address = hash64(remote, colon != NULL ? (size_t) (colon - remote) : strlen(remote), d->seed);
    uint64_t pair = hash64(user.p, user.len, address ^ hash64(db.p, db.len, d->seed));
    return (struct auth_attempt){pair | 1, address | 1};
}

/* The row of that key, under the lock; `makes`: in the place of the one that was idle longest when there is none. */
static struct auth_failure *find_row(struct auth_delay *d, uint64_t key, uint64_t now, bool makes) {
    struct auth_failure *set =
        &d->failures[(key >> 32) % (AUTH_FAILURES_MAX / AUTH_FAILURES_WAYS) * AUTH_FAILURES_WAYS];
    struct auth_failure *oldest = set;
    for (int i = 0; i < AUTH_FAILURES_WAYS; i++) {
        if (set[i].key == key && now - set[i].last_ns <= FORGET_NS) return &set[i];
        if (set[i].key == key) set[i].key = 0;
        if (set[i].key == 0 || (oldest->key != 0 && set[i].last_ns < oldest->last_ns)) oldest = &set[i];
    }
    if (!makes) return NULL;
    *oldest = (struct auth_failure){.key = key, .last_ns = now};
    return oldest;
}

static uint64_t delay_ns(const struct auth_failure *f, uint32_t free) {
    if (f == NULL || f->count <= free) return 0;
    uint32_t doublings = f->count - free - 1;
    uint64_t ms = doublings > 6 ? AUTH_WAIT_MS_MAX : (uint64_t) STEP_MS << doublings;
    return (ms < AUTH_WAIT_MS_MAX ? ms : AUTH_WAIT_MS_MAX) * NS_PER_MS;
}

/* When its turn is, 0 for never; takes the place in time. */
static uint64_t take_turn(struct auth_delay *d, struct auth_attempt who, uint64_t now) {
    struct auth_failure *pair = find_row(d, who.pair, now, false), *address = find_row(d, who.address, now, false);
    uint64_t turn = now;
    if (pair != NULL && pair->not_before_ns > turn) turn = pair->not_before_ns;
    if (address != NULL && address->not_before_ns > turn) turn = address->not_before_ns;
    if (turn == now) return now;
    if (turn - now > AUTH_WAIT_MS_MAX * NS_PER_MS || d->waiting >= AUTH_WAITERS_MAX) return 0;
    if (pair != NULL) pair->not_before_ns = turn + delay_ns(pair, PAIR_FREE);
    if (address != NULL) address->not_before_ns = turn + delay_ns(address, ADDRESS_FREE);
    d->waiting++;
    return turn;
}

status auth_delay_wait(struct auth_delay *d, struct auth_attempt who, const struct op *op, bool *may, struct err *err) {
    status st = ST_OK;
    mutex_lock(&d->lock);
    uint64_t now = d->env->ops->monotonic_ns(d->env), turn = take_turn(d, who, now);
    bool waits = turn > now;
    *may = turn != 0;
    /* The count of slices bounds the wait where the clock is not the world's. */
    for (int i = 0; st == ST_OK && now < turn && i < 2 * AUTH_WAIT_MS_MAX / SLICE_MS; i++) {
        uint64_t left_ms = (turn - now) / NS_PER_MS + 1;
        (void) cond_wait_ms(&d->never, &d->lock, left_ms < SLICE_MS ? left_ms : SLICE_MS);
        st = op_check(op, err);
        now = d->env->ops->monotonic_ns(d->env);
    }
    if (waits) d->waiting--;
    mutex_unlock(&d->lock);
    return st;
}

static void count_failure(struct auth_delay *d, uint64_t key, uint64_t now, uint32_t free) {
    struct auth_failure *f = find_row(d, key, now, true);
    if (f->count < UINT32_MAX) f->count++;
    f->last_ns = now;
    uint64_t until = now + delay_ns(f, free);
    if (f->not_before_ns < until) f->not_before_ns = until;
}

void auth_delay_failed(struct auth_delay *d, struct auth_attempt who) {
    uint64_t now = d->env->ops->monotonic_ns(d->env);
    mutex_lock(&d->lock);
    count_failure(d, who.pair, now, PAIR_FREE);
    count_failure(d, who.address, now, ADDRESS_FREE);
    mutex_unlock(&d->lock);
}

void auth_delay_passed(struct auth_delay *d, struct auth_attempt who) {
    mutex_lock(&d->lock);
    struct auth_failure *pair = find_row(d, who.pair, d->env->ops->monotonic_ns(d->env), false);
    if (pair != NULL) pair->key = 0;
    mutex_unlock(&d->lock);
}
