/* Failed logins are slowed down. What is slowed is the next attempt: it waits before its proof is looked at.
 *
 * For each pair of peer address and user, and for each peer address, the failures of the last quarter of an hour are counted in a table of fixed size. The second failure of a pair makes the
 * next attempt wait 50 ms, each further one twice as long, up to a second; of an address alone that begins at the tenth, so that trying many names is slow, too. Attempts of one pair that come at
 * the same time queue: each takes the next place in time.
 *
 * A wait holds the thread of the command, so it is bounded twice: at most AUTH_WAIT_MS_MAX, and at most AUTH_WAITERS_MAX threads wait at once. Whoever would have to wait beyond either is refused at once
 * without a look at the proof. So guessing costs the others nothing but those few threads, and a user who never failed is never kept waiting. A success forgets the pair's failures. */
#ifndef ELMO_COMMAND_AUTH_DELAY_H
#define ELMO_COMMAND_AUTH_DELAY_H

#include "doc/op.h"
#include "os/thread.h"

#define AUTH_WAIT_MS_MAX 1000
#define AUTH_WAITERS_MAX 4
#define AUTH_FAILURES_MAX 1024 /* pairs and addresses that are remembered */
#define AUTH_FAILURES_WAYS 4

struct auth_failure {
    uint64_t key; /* 0: free */
    uint64_t last_ns, not_before_ns;
    uint32_t count;
};

struct auth_delay {
    struct env *env;
    struct mutex lock;
    struct cond never; /* what waits for its turn waits for this */
    uint64_t seed;
    unsigned waiting;
    struct auth_failure failures[AUTH_FAILURES_MAX];
};

/* Who tries: keys of the pair and of the address. */
struct auth_attempt {
    uint64_t pair, address;
};

status auth_delay_init(struct auth_delay *d, struct env *env, struct err *err);
void auth_delay_release(struct auth_delay *d);
/* `remote` is "address:port". */
struct auth_attempt auth_attempt_of(const struct auth_delay *d, const char *remote, struct slice user, struct slice db);
/* Waits for the attempt's turn. False: it is refused unseen. Fails when the op is stopped meanwhile. */
status auth_delay_wait(struct auth_delay *d, struct auth_attempt who, const struct op *op, bool *may, struct err *err);
void auth_delay_failed(struct auth_delay *d, struct auth_attempt who);
void auth_delay_passed(struct auth_delay *d, struct auth_attempt who);

#endif
