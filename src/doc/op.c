/* The op: see op.h. */
#include "doc/op.h"

#include "doc/db.h"

void op_init(struct op *op, struct db *db) {
    const struct mem *mem = db_mem(db);
    *op = (struct op){.db = db, .mem = mem, .memory_max = OP_MEMORY_MAX};
    arena_init(&op->arena, mem);
    arena_init(&op->scratch.arena, mem);
    buf_init(&op->scratch.key, mem);
    buf_init(&op->scratch.value, mem);
    buf_init(&op->scratch.locator, mem);
    buf_init(&op->scratch.side, mem);
}

void op_release(struct op *op) {
    buf_release(&op->scratch.side);
    buf_release(&op->scratch.locator);
    buf_release(&op->scratch.value);
    buf_release(&op->scratch.key);
    arena_release(&op->scratch.arena);
    arena_release(&op->arena);
}

static uint64_t now_ns(const struct op *op) {
    struct env *env = db_env(op->db);
    return env->ops->monotonic_ns(env);
}

status op_check(const struct op *op, struct err *err) {
    if (op->cancelled != NULL && atomic_load_explicit(op->cancelled, memory_order_relaxed))
        return RAISE(err, ST_INTERRUPTED, "operation was interrupted");
    if (op->deadline_ns != 0 && now_ns(op) >= op->deadline_ns)
        return RAISE(err, ST_TIMEOUT, "operation exceeded time limit");
    return ST_OK;
}

uint64_t op_wait_ms(const struct op *op, uint64_t max_ms) {
    if (op->session_txn != NULL && max_ms > TXN_LOCK_WAIT_MS) max_ms = TXN_LOCK_WAIT_MS;
    if (op->deadline_ns == 0) return max_ms;
    uint64_t now = now_ns(op);
    uint64_t left = now >= op->deadline_ns ? 0 : (op->deadline_ns - now) / 1000000 + 1;
    return left < max_ms ? left : max_ms;
}
