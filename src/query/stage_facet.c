/* $facet: several pipelines over the same rows, each giving one array. The rows are kept in one buffer, from which every pipeline reads. */
#include "query/stage_rows.h"

struct facet {
    struct slice name;
    struct pipe_list list;
};

struct facet_stage {
    struct pipe_stage base;
    struct facet *facets;
    uint32_t count;
    struct buf rows, out;
    size_t charged;
    bool at_end;
};

static status charge(struct facet_stage *s, struct err *err) {
    size_t now = s->rows.cap + s->out.cap, before = s->charged;
    s->charged = now;
    return now > before ? pipe_charge(s->base.list->p, "$facet", now - before, err) : ST_OK;
}

static status gather(struct facet_stage *s, struct err *err) {
    struct pipe_row row;
    status st;
    while ((st = pipe_next(&s->base, &row, err)) == ST_OK) {
        TRY(pipe_tick(s->base.list->p, err));
        if (!buf_append(&s->rows, row.doc.p, row.doc.len)) return RAISE(err, ST_NOMEM, "$facet");
        TRY(charge(s, err));
    }
    return st == ST_END ? ST_OK : st;
}

static status append_facet(struct facet_stage *s, struct facet *f, struct bbuild *b, struct err *err) {
    struct bbuild array = bbuild_open_array(b, f->name);
    struct pipe_row row;
    status st;
    while ((st = pipe_list_next(&f->list, &row, err)) == ST_OK) {
        bbuild_push(&array, (struct bval){row.doc.p, row.doc.len, B_DOCUMENT});
        if (s->out.failed) return RAISE(err, ST_NOMEM, "$facet");
        TRY(charge(s, err));
    }
    if (st != ST_END) return st;
    bbuild_close(&array);
    return ST_OK;
}

static status facet_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct facet_stage *s = (struct facet_stage *) stage;
    struct bbuild b;
    if (s->at_end) return ST_END;
    TRY(gather(s, err));
    bbuild_begin(&b, &s->out);
    for (uint32_t i = 0; i < s->count; i++) TRY(append_facet(s, &s->facets[i], &b, err));
    *out = (struct pipe_row){.doc = bbuild_finish(&b)};
    s->at_end = true;
    return out->doc.p != NULL ? ST_OK : RAISE(err, ST_NOMEM, "$facet");
}

static status facet_restart(struct pipe_stage *stage, struct err *err) {
    struct facet_stage *s = (struct facet_stage *) stage;
    buf_clear(&s->rows);
    buf_clear(&s->out);
    s->at_end = false;
    for (uint32_t i = 0; i < s->count; i++) TRY(pipe_list_restart(&s->facets[i].list, err));
    return ST_OK;
}

static void facet_close(struct pipe_stage *stage) {
    struct facet_stage *s = (struct facet_stage *) stage;
    buf_release(&s->rows);
    buf_release(&s->out);
}

static const struct stage_vtable ops = {.next = facet_next, .restart = facet_restart, .close = facet_close};

extern const struct stage_def stage_facet;

static status parse_one(struct pipe_parse *ps, struct facet_stage *s, struct belem e) {
    struct facet *f = &s->facets[s->count];
    struct pipe_stage *queue;
    if (e.value.type != B_ARRAY)
        return RAISE_CODE(ps->err, 40170, "arguments to $facet must be arrays, %.*s is type %s", SLICE_ARGS(e.name), btype_name(e.value.type));
    if (e.name.len == 0 || e.name.p[0] == '$' || memchr(e.name.p, '.', e.name.len) != NULL)
        return RAISE_CODE(ps->err, 16410, "FieldPath field names may not start with '$' or contain '.': '%.*s'", SLICE_ARGS(e.name));
    f->name = e.name;
    f->list = (struct pipe_list){.p = ps->list->p, .ns = ps->list->ns, .depth = ps->list->depth + 1, .in_facet = true};
    TRY(pipe_list_parse(&f->list, bval_doc(e.value), false, ps->err));
    TRY(queue_new(&f->list, &s->rows, &queue, ps->err));
    s->count++;
    return pipe_push_source(&f->list, queue, ps->err);
}

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct facet_stage *s;
    if (spec.type != B_DOCUMENT || bdoc_is_empty(bval_doc(spec)))
        return RAISE_CODE(ps->err, 40169, "the $facet specification must be a non-empty object");
    TRY(pipe_append(ps, &stage_facet, &ops, sizeof(*s), &s));
    buf_init(&s->rows, ps->list->p->op.mem);
    buf_init(&s->out, ps->list->p->op.mem);
    s->facets = arena_array(pipe_arena(ps), struct facet, bdoc_count(bval_doc(spec)));
    if (s->facets == NULL) return RAISE(ps->err, ST_NOMEM, "$facet");
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) TRY(parse_one(ps, s, e));
    return ST_OK;
}

const struct stage_def stage_facet = {"$facet", STAGE_BLOCKS | STAGE_NOT_IN_FACET, parse};
