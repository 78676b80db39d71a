/* $group: a record for each distinct _id, found by hash; accumulators keep their state in it (eval/accum.h).
 *
 *   record   header | states of the accumulators, each at its offset | bytes of the _id
 *
 * Equal values are one group across numeric types; the first one seen gives the group its _id. Groups come out in the order in which they were first
 * seen. */
#include "bson/compare.h"
#include "eval/accum.h"
#include "query/pipeline_internal.h"

struct group {
    uint64_t hash;
    struct group *next; /* in order of arrival */
    const uint8_t *id;
    uint32_t id_len;
    uint8_t id_type;
    _Alignas(16) uint8_t states[];
};

struct group_field {
    struct slice name;
    struct accum accum;
    size_t offset;
};

struct group_stage {
    struct pipe_stage base;
    const struct expr *id;
    struct group_field *fields;
    uint32_t field_count;
    size_t states_len;
    struct arena arena; /* of the records */
    struct accum_run run;
    struct group **slots;
    size_t slot_count, count; /* a power of two */
    struct group *first, *last, *at;
    size_t charged;
    bool is_filled;
    struct buf out;
};

/* --- the table ------------------------------------------------------------------------------------------------- */

static struct bval id_of(const struct group *g) { return (struct bval){g->id, g->id_len, g->id_type}; }

static bool same_id(const struct group *g, struct bval id) {
    if (g->id_type == id.type && g->id_len == id.len && (id.len == 0 || memcmp(g->id, id.p, id.len) == 0)) return true;
    return bval_equal(id_of(g), id);
}

static struct group **find_slot(const struct group_stage *s, uint64_t hash, struct bval id) {
    size_t mask = s->slot_count - 1, i = (size_t) hash & mask;
    while (s->slots[i] != NULL && (s->slots[i]->hash != hash || !same_id(s->slots[i], id))) i = (i + 1) & mask;
    return &s->slots[i];
}

static status grow(struct group_stage *s, struct err *err) {
    const struct mem *mem = s->base.list->p->op.mem;
    size_t count = s->slot_count == 0 ? 64 : s->slot_count * 2;
    struct group **slots = mem_zalloc(mem, count * sizeof(*slots));
    if (slots == NULL) return RAISE(err, ST_NOMEM, "$group");
    for (struct group *g = s->first; g != NULL; g = g->next) {
        size_t i = (size_t) g->hash & (count - 1);
        while (slots[i] != NULL) i = (i + 1) & (count - 1);
        slots[i] = g;
    }
    mem_free(mem, s->slots, s->slot_count * sizeof(*slots));
    s->slots = slots;
    s->slot_count = count;
    return ST_OK;
}

static status new_group(struct group_stage *s, uint64_t hash, struct bval id, struct group **out, struct err *err) {
    struct group *g = arena_zalloc(&s->arena, sizeof(*g) + s->states_len + id.len);
    if (g == NULL) return RAISE(err, ST_NOMEM, "$group");
    uint8_t *bytes = g->states + s->states_len;
    if (id.len != 0) memcpy(bytes, id.p, id.len);
    g->hash = hash;
    g->id = bytes;
    g->id_len = id.len;
    g->id_type = id.type;
    if (s->last != NULL) s->last->next = g;
    else s->first = g;
    s->last = g;
    s->count++;
    *out = g;
    return ST_OK;
}

static status find_group(struct group_stage *s, struct bval id, struct group **out, struct err *err) {
    if (bval_is_nullish(id)) id = (struct bval){(const uint8_t *) "", 0, B_NULL};
    uint64_t hash = bval_hash(id, 0);
    if (s->count * 4 >= s->slot_count * 3) TRY(grow(s, err));
    struct group **slot = find_slot(s, hash, id);
    if (*slot == NULL) TRY(new_group(s, hash, id, slot, err));
    *out = *slot;
    return ST_OK;
}

/* --- rows ------------------------------------------------------------------------------------------------------ */

static status count_memory(struct group_stage *s, struct err *err) {
    size_t now = s->arena.used + s->slot_count * sizeof(*s->slots) + s->run.memory, before = s->charged;
    s->charged = now;
    if (now <= before) {
        pipe_discharge(s->base.list->p, before - now);
        return ST_OK;
    }
    return pipe_charge(s->base.list->p, "$group", now - before, err);
}

static status add_row(struct group_stage *s, const struct pipe_row *row, struct err *err) {
    struct expr_run *x = pipe_run(&s->base, row, err);
    struct bval id;
    struct group *g;
    TRY(expr_eval(x, s->id, &id));
    TRY(find_group(s, id, &g, err));
    s->run.x = x;
    for (uint32_t i = 0; i < s->field_count; i++)
        TRY(accum_add(&s->run, &s->fields[i].accum, g->states + s->fields[i].offset, err));
    return count_memory(s, err);
}

static status fill(struct group_stage *s, struct err *err) {
    struct pipe_row row;
    status st;
    while ((st = pipe_next(&s->base, &row, err)) == ST_OK) {
        TRY(pipe_tick(s->base.list->p, err));
        TRY(add_row(s, &row, err));
    }
    if (st != ST_END) return st;
    s->is_filled = true;
    s->at = s->first;
    return ST_OK;
}

static status group_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct group_stage *s = (struct group_stage *) stage;
    struct bbuild b;
    struct pipe_row none = {.doc = bdoc_empty};
    if (!s->is_filled) TRY(fill(s, err));
    struct group *g = s->at;
    if (g == NULL) return ST_END;
    s->at = g->next;
    s->run.x = pipe_run(stage, &none, err);
    buf_clear(&s->out);
    bbuild_begin(&b, &s->out);
    bbuild_value(&b, SLICE_LIT("_id"), id_of(g));
    for (uint32_t i = 0; i < s->field_count; i++) {
        struct bval v;
        TRY(accum_result(&s->run, &s->fields[i].accum, g->states + s->fields[i].offset, &v, err));
        bbuild_value(&b, s->fields[i].name, v);
    }
    *out = (struct pipe_row){.doc = bbuild_finish(&b)};
    return out->doc.p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "$group");
}

static void drop(struct group_stage *s) {
    for (struct group *g = s->first; g != NULL; g = g->next) {
        for (uint32_t i = 0; i < s->field_count; i++)
            accum_release(&s->run, &s->fields[i].accum, g->states + s->fields[i].offset);
    }
    pipe_discharge(s->base.list->p, s->charged);
    mem_free(s->base.list->p->op.mem, s->slots, s->slot_count * sizeof(*s->slots));
    arena_reset(&s->arena);
    s->slots = NULL;
    s->slot_count = s->count = s->charged = 0;
    s->first = s->last = s->at = NULL;
    s->is_filled = false;
}

static status group_restart(struct pipe_stage *stage, struct err *err) {
    (void) err;
    drop((struct group_stage *) stage);
    return ST_OK;
}

static void group_close(struct pipe_stage *stage) {
    struct group_stage *s = (struct group_stage *) stage;
    drop(s);
    arena_release(&s->arena);
    buf_release(&s->out);
}

static status group_deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    const struct group_stage *s = (const struct group_stage *) stage;
    *ends = true;
    TRY(expr_deps_add(deps, s->id, err));
    for (uint32_t i = 0; i < s->field_count; i++) {
        if (s->fields[i].accum.sort != NULL) deps->all = true;
        TRY(expr_deps_add(deps, s->fields[i].accum.arg, err));
        TRY(expr_deps_add(deps, s->fields[i].accum.n, err));
    }
    return ST_OK;
}

static const struct stage_vtable ops = {
    .next = group_next, .restart = group_restart, .close = group_close, .deps = group_deps};

/* --- parsing --------------------------------------------------------------------------------------------------- */

static status parse_field(struct pipe_parse *ps, struct group_stage *s, struct belem e) {
    struct group_field *f = &s->fields[s->field_count];
    struct belem op = {0};
    if (e.name.len > 0 && e.name.p[0] == '$')
        return RAISE_CODE(ps->err, 40236, "The field name '%.*s' cannot be an operator name", SLICE_ARGS(e.name));
    if (memchr(e.name.p, '.', e.name.len) != NULL)
        return RAISE_CODE(ps->err, 40235, "The field name '%.*s' cannot contain '.'", SLICE_ARGS(e.name));
    struct biter it = biter_of(e.value.type == B_DOCUMENT ? bval_doc(e.value) : bdoc_empty);
    if (e.value.type != B_DOCUMENT || !biter_next(&it, &op) || op.name.len == 0 || op.name.p[0] != '$')
        return RAISE_CODE(ps->err, 40234, "The field '%.*s' must be an accumulator object", SLICE_ARGS(e.name));
    if (bdoc_count(bval_doc(e.value)) != 1)
        return RAISE_CODE(ps->err, 40238, "The field '%.*s' must specify one accumulator", SLICE_ARGS(e.name));
    f->name = e.name;
    f->offset = s->states_len;
    TRY(accum_parse(&ps->list->p->env.scope, e.name, op.name, op.value, &f->accum, ps->err));
    s->states_len += f->accum.state_len;
    s->field_count++;
    return ST_OK;
}

extern const struct stage_def stage_group;

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct group_stage *s;
    if (spec.type != B_DOCUMENT) return RAISE_CODE(ps->err, 15947, "a group's fields must be specified in an object");
    TRY(pipe_append(ps, &stage_group, &ops, sizeof(*s), &s));
    const struct mem *mem = ps->list->p->op.mem;
    arena_init(&s->arena, mem);
    buf_init(&s->out, mem);
    s->run.mem = mem;
    s->fields = arena_array(pipe_arena(ps), struct group_field, (size_t) bdoc_count(bval_doc(spec)) + 1);
    if (s->fields == NULL) return RAISE(ps->err, ST_NOMEM, "$group");
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("_id"))) {
            if (s->id != NULL) return RAISE_CODE(ps->err, 15948, "a group's _id may only be specified once");
            TRY(expr_parse(&ps->list->p->env.scope, e.value, &s->id, ps->err));
        } else {
            TRY(parse_field(ps, s, e));
        }
    }
    return s->id != NULL ? ST_OK : RAISE_CODE(ps->err, 15955, "a group specification must include an _id");
}

const struct stage_def stage_group = {"$group", STAGE_BLOCKS, parse};
