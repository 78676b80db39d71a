/* $sample: a few rows at random, each equally likely (reservoir sampling, Vitter's algorithm R), in random order. */
#include "query/pipeline_internal.h"

struct sample_stage {
    struct pipe_stage base;
    uint64_t size, seen;
    struct buf *rows;
    size_t count, cap, at;
    size_t charged;
    bool is_filled;
};

static uint64_t random_below(struct pipeline *p, uint64_t n) {
    uint64_t z = p->env.run.random_state += 0x9e3779b97f4a7c15u; /* SplitMix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (uint64_t) (((unsigned __int128) z * n) >> 64);
}

static status keep(struct sample_stage *s, size_t i, struct bdoc doc, struct err *err) {
    struct pipeline *p = s->base.list->p;
    if (i == s->count) {
        void *rows = s->rows;
        if (!mem_grow(p->op.mem, &rows, &s->cap, s->count + 1, sizeof(*s->rows))) return RAISE(err, ST_NOMEM, "$sample");
        s->rows = rows;
        buf_init(&s->rows[s->count++], p->op.mem);
    }
    size_t before = s->rows[i].cap;
    buf_clear(&s->rows[i]);
    if (!buf_append(&s->rows[i], doc.p, doc.len)) return RAISE(err, ST_NOMEM, "$sample");
    s->charged += s->rows[i].cap - before;
    return pipe_charge(p, "$sample", s->rows[i].cap - before, err);
}

static status fill(struct sample_stage *s, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct pipe_row row;
    status st;
    while ((st = pipe_next(&s->base, &row, err)) == ST_OK) {
        TRY(pipe_tick(p, err));
        uint64_t i = s->seen < s->size ? s->seen : random_below(p, s->seen + 1);
        s->seen++;
        if (i < s->size) TRY(keep(s, (size_t) i, row.doc, err));
    }
    if (st != ST_END) return st;
    for (size_t i = s->count; i > 1; i--) {
        size_t k = (size_t) random_below(p, i);
        struct buf swap = s->rows[i - 1];
        s->rows[i - 1] = s->rows[k];
        s->rows[k] = swap;
    }
    s->is_filled = true;
    return ST_OK;
}

static status sample_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct sample_stage *s = (struct sample_stage *) stage;
    if (!s->is_filled) TRY(fill(s, err));
    if (s->at == s->count) return ST_END;
    *out = (struct pipe_row){.doc = bdoc_of(s->rows[s->at++].p)};
    return ST_OK;
}

static void drop(struct sample_stage *s) {
    for (size_t i = 0; i < s->count; i++) buf_release(&s->rows[i]);
    pipe_discharge(s->base.list->p, s->charged);
    s->count = s->at = s->charged = 0;
    s->seen = 0;
    s->is_filled = false;
}

static status sample_restart(struct pipe_stage *stage, struct err *err) {
    (void) err;
    drop((struct sample_stage *) stage);
    return ST_OK;
}

static void sample_close(struct pipe_stage *stage) {
    struct sample_stage *s = (struct sample_stage *) stage;
    drop(s);
    mem_free(stage->list->p->op.mem, s->rows, s->cap * sizeof(*s->rows));
}

static const struct stage_vtable ops = {.next = sample_next, .restart = sample_restart, .close = sample_close};

extern const struct stage_def stage_sample;

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct sample_stage *s;
    struct bval size = BVAL_MISSING;
    int64_t n;
    if (spec.type != B_DOCUMENT) return RAISE_CODE(ps->err, 28745, "the $sample stage specification must be an object");
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (!slice_equal(e.name, SLICE_LIT("size")))
            return RAISE_CODE(ps->err, 28748, "unrecognized option to $sample: %.*s", SLICE_ARGS(e.name));
        size = e.value;
    }
    if (size.type == B_MISSING) return RAISE_CODE(ps->err, 28749, "$sample stage must specify a size");
    if (!bval_is_number(size)) return RAISE_CODE(ps->err, 28746, "size argument to $sample must be a number");
    if (!bnum_to_int64(bnum_of(size), &n) || n <= 0)
        return RAISE_CODE(ps->err, 28747, "size argument to $sample must be a positive integer");
    TRY(pipe_append(ps, &stage_sample, &ops, sizeof(*s), &s));
    s->size = (uint64_t) n;
    return ST_OK;
}

const struct stage_def stage_sample = {"$sample", STAGE_KEEPS_DOCUMENTS | STAGE_BLOCKS, parse};
