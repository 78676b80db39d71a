/* The budget of message bytes. */
#include "server/budget.h"

bool budget_init(struct budget *b, size_t limit, void (*wake)(void *ctx, struct share *s), void *ctx) {
    *b = (struct budget){.limit = limit, .wake = wake, .ctx = ctx};
    b->last = &b->first;
    atomic_init(&b->waiting_count, 0);
    return pthread_mutex_init(&b->lock, NULL) == 0;
}

void budget_release(struct budget *b) { (void) pthread_mutex_destroy(&b->lock); }

static bool fits(const struct budget *b, const struct share *s, size_t more) {
    if (s == b->elder) return true;
    return b->used <= b->limit && more <= b->limit - b->used;
}

/* With the lock: the first who waits, taken out. NULL when there is no hope for it yet. */
static struct share *pop(struct budget *b, bool all) {
    struct share *s = b->first;
    if (s == NULL || (!all && b->elder != NULL && b->used >= b->limit)) return NULL;
    b->first = s->next;
    if (b->first == NULL) b->last = &b->first;
    s->next = NULL;
    s->is_waiting = false;
    atomic_fetch_sub_explicit(&b->waiting_count, 1, memory_order_relaxed);
    return s;
}

bool budget_take(struct budget *b, struct share *s, size_t more) {
    (void) pthread_mutex_lock(&b->lock);
    bool granted = fits(b, s, more);
    if (!granted && b->elder == NULL) {
        b->elder = s;
        granted = true;
    }
    struct share *woken = NULL;
    if (granted) {
        b->used += more;
        s->held += more;
        woken = pop(b, false); /* one give may be enough for several: each wakes the next */
    }
    (void) pthread_mutex_unlock(&b->lock);
    if (woken != NULL) b->wake(b->ctx, woken);
    return granted;
}

void budget_force(struct budget *b, struct share *s, size_t more) {
    (void) pthread_mutex_lock(&b->lock);
    b->used += more;
    s->held += more;
    (void) pthread_mutex_unlock(&b->lock);
}

void budget_give(struct budget *b, struct share *s, size_t less) {
    if (less == 0) return;
    (void) pthread_mutex_lock(&b->lock);
    b->used -= less;
    s->held -= less;
    if (s == b->elder && s->held == 0) b->elder = NULL;
    struct share *woken = pop(b, false);
    (void) pthread_mutex_unlock(&b->lock);
    if (woken != NULL) b->wake(b->ctx, woken);
}

bool budget_wait(struct budget *b, struct share *s, size_t more) {
    (void) pthread_mutex_lock(&b->lock);
    bool waits = !fits(b, s, more) && b->elder != NULL;
    if (waits) {
        s->is_waiting = true;
        s->next = NULL;
        *b->last = s;
        b->last = &s->next;
        atomic_fetch_add_explicit(&b->waiting_count, 1, memory_order_relaxed);
    }
    (void) pthread_mutex_unlock(&b->lock);
    return waits;
}

void budget_wake_all(struct budget *b) {
    for (;;) {
        (void) pthread_mutex_lock(&b->lock);
        struct share *s = pop(b, true);
        (void) pthread_mutex_unlock(&b->lock);
        if (s == NULL) return;
        b->wake(b->ctx, s);
    }
}
