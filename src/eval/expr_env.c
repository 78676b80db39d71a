/* What a statement compiles and evaluates with; see expr.h. */
#include "eval/expr_internal.h"

#define SCRATCH_MAX ((size_t) 256 * 1024 * 1024) /* of one row: several values of the greatest length */

void expr_env_init(struct expr_env *env, const struct mem *mem, struct arena *arena, int64_t now_ms) {
    *env = (struct expr_env){0};
    expr_scope_init(&env->scope, mem, arena, now_ms);
    arena_init(&env->scratch, mem);
    env->run = (struct expr_run){.root = bdoc_empty,
                                 .arena = &env->scratch,
                                 .mem = mem,
                                 .memory_max = SCRATCH_MAX,
                                 .random_state = (uint64_t) now_ms};
}

void expr_env_release(struct expr_env *env) {
    expr_scope_release(&env->scope);
    arena_release(&env->scratch);
    mem_free(env->run.mem, env->run.slots, env->slot_cap * sizeof(*env->run.slots));
    env->run.slots = NULL;
    env->slot_cap = 0;
}

status expr_env_prepare(struct expr_env *env, struct err *err) {
    uint32_t count = env->scope.slot_count;
    if (count <= env->slot_cap) return ST_OK;
    struct bval *slots = mem_resize(env->run.mem, env->run.slots, env->slot_cap * sizeof(*slots), count * sizeof(*slots));
    if (slots == NULL) return RAISE(err, ST_NOMEM, "variables");
    memset(slots + env->slot_cap, 0, (count - env->slot_cap) * sizeof(*slots));
    env->run.slots = slots;
    env->slot_cap = count;
    return ST_OK;
}

status expr_env_let(struct expr_env *env, struct bdoc let, struct err *err) {
    struct biter it = biter_of(let);
    struct belem e;
    while (biter_next(&it, &e)) {
        const struct expr *value;
        struct bval v;
        uint32_t slot;
        TRY(expr_parse(&env->scope, e.value, &value, err));
        TRY(expr_env_prepare(env, err));
        struct expr_run x = env->run;
        x.arena = env->scope.arena; /* it lives as long as the statement */
        x.memory_max = env->scope.arena->used + EXPR_LEN_MAX;
        x.err = err;
        TRY(expr_eval(&x, value, &v));
        TRY(expr_scope_bind(&env->scope, e.name, &slot, err));
        TRY(expr_env_prepare(env, err));
        env->run.slots[slot] = v;
    }
    return ST_OK;
}

status expr_env_constants(struct expr_env *env, struct bdoc constants, struct err *err) {
    struct biter it = biter_of(constants);
    struct belem e;
    while (biter_next(&it, &e)) {
        uint32_t slot;
        TRY(expr_scope_bind(&env->scope, e.name, &slot, err));
        TRY(expr_env_prepare(env, err));
        env->run.slots[slot] = e.value;
    }
    return ST_OK;
}
