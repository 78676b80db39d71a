/* $setWindowFields: each row with fields that its neighbours decide. The rows are taken in, sorted by partition and sortBy, and given out partition by
 * partition; what a window function makes of them is in window_run.c.
 *
 * A row is one piece of memory: header, key (of the partition's value, then of sortBy; index/key.h), document. Rows with equal keys stay in the order in
 * which they came. */
#include <stdlib.h>

#include "eval/sort_key.h"
#include "index/key.h"
#include "query/window.h"

#define STAGE_NAME "$setWindowFields"

struct window_stage {
    struct pipe_stage base;
    const struct expr *partition; /* NULL: all rows are one */
    struct sort_pattern *sort;    /* NULL: none */
    const struct expr *order;     /* the only field of sortBy, when a function reads it */
    struct window_field *fields;
    uint32_t field_count;
    struct window_row **items;
    size_t count, cap, at; /* at: the next row to be given out */
    size_t end;            /* of the partition that `at` is in */
    uint64_t arrivals;
    bool is_filled;
    struct window_rows rows;
    struct accum_run run;
    size_t charged; /* for what the functions hold */
    struct buf key, out, other;
};

static size_t item_len(const struct window_row *r) { return sizeof(*r) + r->key_len + r->doc_len; }

/* --- taking in -------------------------------------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b) {
    const struct window_row *x = *(struct window_row *const *) a, *y = *(struct window_row *const *) b;
    int c = slice_compare(slice_of(x->bytes, x->key_len), slice_of(y->bytes, y->key_len));
    return c != 0 ? c : (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

static void free_row(struct window_stage *s, struct window_row *r) {
    pipe_discharge(s->base.list->p, item_len(r) + sizeof(void *));
    mem_free(s->base.list->p->op.mem, r, item_len(r));
}

static status make_key(struct window_stage *s, const struct pipe_row *row, uint32_t *partition_len, struct err *err) {
    struct expr_run *x = pipe_run(&s->base, row, err);
    struct bval v;
    buf_clear(&s->key);
    if (s->partition != NULL) {
        TRY(expr_eval(x, s->partition, &v));
        if (v.type == B_ARRAY)
            return RAISE_CODE(err, CODE_TypeMismatch,
                              "An expression used to partition cannot evaluate to value of type array");
        key_append(&s->key, v, false);
    }
    *partition_len = (uint32_t) s->key.len;
    if (s->sort != NULL) TRY(sort_key_append(s->sort, row->doc, row->score, x->arena, &s->key, err));
    return s->key.failed ? RAISE(err, ST_NOMEM, STAGE_NAME) : ST_OK;
}

static status take(struct window_stage *s, const struct pipe_row *row, struct err *err) {
    struct pipeline *p = s->base.list->p;
    struct window_row shape = {.arrival = s->arrivals++,
                               .score = row->score,
                               .has_score = row->has_score,
                               .doc_len = row->doc.len};
    TRY(make_key(s, row, &shape.partition_len, err));
    shape.key_len = (uint32_t) s->key.len;
    void *items = s->items;
    bool grew = mem_grow(p->op.mem, &items, &s->cap, s->count + 1, sizeof(struct window_row *));
    s->items = items;
    struct window_row *r = grew ? mem_alloc(p->op.mem, item_len(&shape)) : NULL;
    if (r == NULL) return RAISE(err, ST_NOMEM, STAGE_NAME);
    *r = shape;
    if (s->key.len != 0) memcpy(r->bytes, s->key.p, s->key.len);
    memcpy(r->bytes + s->key.len, row->doc.p, row->doc.len);
    s->items[s->count++] = r;
    return pipe_charge(p, STAGE_NAME, item_len(r) + sizeof(void *), err);
}

static status fill(struct window_stage *s, struct err *err) {
    struct pipe_row row;
    status st;
    while ((st = pipe_next(&s->base, &row, err)) == ST_OK) {
        TRY(pipe_tick(s->base.list->p, err));
        TRY(take(s, &row, err));
    }
    if (st != ST_END) return st;
    if (s->count > 1 && (s->partition != NULL || s->sort != NULL))
        qsort(s->items, s->count, sizeof(struct window_row *), compare_rows);
    s->is_filled = true;
    return ST_OK;
}

/* --- giving out ------------------------------------------------------------------------------------------------- */

static bool same_partition(const struct window_row *a, const struct window_row *b) {
    return slice_equal(slice_of(a->bytes, a->partition_len), slice_of(b->bytes, b->partition_len));
}

static status count_memory(struct window_stage *s, struct err *err) {
    size_t now = s->rows.arena.used + s->run.memory, before = s->charged;
    s->charged = now;
    if (now > before) return pipe_charge(s->base.list->p, STAGE_NAME, now - before, err);
    pipe_discharge(s->base.list->p, before - now);
    return ST_OK;
}

static status read_order(struct window_stage *s, struct err *err) {
    struct window_rows *rows = &s->rows;
    if (s->order == NULL) return ST_OK;
    rows->order = arena_array(&rows->arena, struct bval, rows->count);
    if (rows->order == NULL) return RAISE(err, ST_NOMEM, STAGE_NAME);
    for (size_t i = 0; i < rows->count; i++) { /* a field's value lies in the row */
        struct pipe_row row = {.doc = window_row_doc(rows->at[i])};
        TRY(expr_eval(pipe_run(&s->base, &row, err), s->order, &rows->order[i]));
        if (rows->order[i].type == B_ARRAY) rows->order[i] = (struct bval){(const uint8_t *) "\5\0\0\0", 5, B_ARRAY};
    }
    return ST_OK;
}

static void leave_partition(struct window_stage *s) {
    for (uint32_t i = 0; i < s->field_count; i++) window_end(&s->fields[i], &s->run);
    arena_reset(&s->rows.arena);
    s->rows.order = NULL;
    for (size_t i = 0; i < s->rows.count; i++) free_row(s, s->rows.at[i]);
    s->rows.count = 0;
}

static status enter_partition(struct window_stage *s, struct err *err) {
    leave_partition(s);
    s->end = s->at + 1;
    while (s->end < s->count && same_partition(s->items[s->end], s->items[s->at])) s->end++;
    s->rows.at = s->items + s->at;
    s->rows.count = s->end - s->at;
    TRY(read_order(s, err));
    for (uint32_t i = 0; i < s->field_count; i++) TRY(window_begin(&s->fields[i], &s->run, &s->rows, err));
    return count_memory(s, err);
}

/* Sets a field as $addFields does: through arrays into each element. */
static status put(struct bbuild *out, struct bdoc doc, bool is_array, const struct path *path, uint32_t part,
                  struct bval v) {
    struct biter it = biter_of(doc);
    struct belem e;
    bool done = false, is_last = part + 1 == path->part_count;
    while (biter_next(&it, &e)) {
        if (!is_array && (done || !slice_equal(e.name, path->parts[part].name))) {
            bbuild_value(out, e.name, e.value);
            continue;
        }
        done = true;
        if (is_last && !is_array) {
            bbuild_value(out, e.name, v);
            continue;
        }
        uint32_t next = is_array ? part : part + 1;
        bool enters_array = e.value.type == B_ARRAY;
        struct bbuild sub = enters_array ? bbuild_open_array(out, e.name) : bbuild_open_doc(out, e.name);
        struct bdoc inner = enters_array || e.value.type == B_DOCUMENT ? bval_doc(e.value) : bdoc_empty;
        TRY(put(&sub, inner, enters_array, path, next, v));
        bbuild_close(&sub);
    }
    if (done || is_array) return ST_OK;
    if (is_last) {
        bbuild_value(out, path->parts[part].name, v);
        return ST_OK;
    }
    struct bbuild sub = bbuild_open_doc(out, path->parts[part].name);
    TRY(put(&sub, bdoc_empty, false, path, part + 1, v));
    bbuild_close(&sub);
    return ST_OK;
}

static void swap(struct buf *a, struct buf *b) {
    struct buf t = *a;
    *a = *b;
    *b = t;
}

static status window_stage_next(struct pipe_stage *stage, struct pipe_row *out, struct err *err) {
    struct window_stage *s = (struct window_stage *) stage;
    if (!s->is_filled) TRY(fill(s, err));
    if (s->at >= s->count) return ST_END;
    if (s->at >= s->end) TRY(enter_partition(s, err));
    size_t i = s->at++ - (s->end - s->rows.count);
    const struct window_row *r = s->rows.at[i];
    *out = (struct pipe_row){window_row_doc(r), r->score, r->has_score};
    for (uint32_t f = 0; f < s->field_count; f++) {
        struct bval v;
        struct bbuild b;
        TRY(window_next(&s->fields[f], &s->run, &s->rows, i, &v, err));
        buf_clear(&s->other);
        bbuild_begin(&b, &s->other);
        TRY(put(&b, out->doc, false, &s->fields[f].path, 0, v));
        out->doc = bbuild_finish(&b);
        if (out->doc.p == NULL) return RAISE(err, ST_NOMEM, STAGE_NAME);
        swap(&s->out, &s->other);
    }
    return count_memory(s, err);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void drop(struct window_stage *s) {
    size_t kept = s->rows.count != 0 ? s->end : s->at;
    leave_partition(s);
    for (size_t i = kept; i < s->count; i++) free_row(s, s->items[i]);
    pipe_discharge(s->base.list->p, s->charged);
    s->count = s->at = s->end = s->charged = 0;
    s->is_filled = false;
}

static status window_stage_restart(struct pipe_stage *stage, struct err *err) {
    (void) err;
    drop((struct window_stage *) stage);
    return ST_OK;
}

static void window_stage_close(struct pipe_stage *stage) {
    struct window_stage *s = (struct window_stage *) stage;
    drop(s);
    arena_release(&s->rows.arena);
    mem_free(stage->list->p->op.mem, s->items, s->cap * sizeof(struct window_row *));
    buf_release(&s->key);
    buf_release(&s->out);
    buf_release(&s->other);
}

static status window_stage_deps(const struct pipe_stage *stage, struct expr_deps *deps, bool *ends, struct err *err) {
    const struct window_stage *s = (const struct window_stage *) stage;
    *ends = false;
    TRY(expr_deps_add(deps, s->partition, err));
    for (uint32_t i = 0; s->sort != NULL && i < s->sort->field_count; i++)
        if (!s->sort->fields[i].is_text_score) TRY(expr_deps_add_path(deps, s->sort->fields[i].path.text, err));
    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct window_field *f = &s->fields[i];
        if (f->accum.sort != NULL || f->path.part_count > 1) deps->all = true;
        TRY(expr_deps_add(deps, f->accum.arg, err));
        TRY(expr_deps_add(deps, f->accum.n, err));
        TRY(expr_deps_add(deps, f->input, err));
        TRY(expr_deps_add(deps, f->input_y, err));
    }
    return ST_OK;
}

static const struct stage_vtable ops = {.next = window_stage_next,
                                        .restart = window_stage_restart,
                                        .close = window_stage_close,
                                        .deps = window_stage_deps};

/* --- parsing ---------------------------------------------------------------------------------------------------- */

extern const struct stage_def stage_set_window_fields;

static status parse_sort(struct pipe_parse *ps, struct window_stage *s, struct bval spec) {
    if (spec.type == B_MISSING) return ST_OK;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_TypeMismatch,
                          "BSON field '$setWindowFields.sortBy' is the wrong type '%s', expected type 'object'",
                          btype_name(spec.type));
    if (bdoc_is_empty(bval_doc(spec))) return ST_OK;
    s->sort = arena_new(pipe_arena(ps), struct sort_pattern);
    if (s->sort == NULL) return RAISE(ps->err, ST_NOMEM, STAGE_NAME);
    TRY(sort_pattern_parse(pipe_arena(ps), bval_doc(spec), s->sort, ps->err));
    for (uint32_t i = 0; i < s->sort->field_count; i++)
        if (s->sort->fields[i].is_text_score) ps->list->p->env.scope.reads_score = true;
    return ST_OK;
}

/* "$path" of the only field of sortBy. */
static status parse_order(struct pipe_parse *ps, struct window_stage *s) {
    struct slice path = s->sort->fields[0].path.text;
    uint32_t len = (uint32_t) path.len + 2;
    uint8_t *p = arena_zalloc(pipe_arena(ps), (size_t) len + 4);
    if (p == NULL) return RAISE(ps->err, ST_NOMEM, STAGE_NAME);
    put_le32(p, len);
    p[4] = '$';
    memcpy(p + 5, path.p, path.len);
    return expr_parse(&ps->list->p->env.scope, (struct bval){p, len + 4, B_STRING}, &s->order, ps->err);
}

static bool overlap(struct slice a, struct slice b) {
    size_t n = a.len < b.len ? a.len : b.len;
    if (memcmp(a.p, b.p, n) != 0) return false;
    return a.len == b.len || (a.len > n ? a.p[n] : b.p[n]) == '.';
}

static status parse_output(struct pipe_parse *ps, struct window_stage *s, struct bdoc output) {
    struct window_place place = {.sort_count = s->sort != NULL ? s->sort->field_count : 0,
                                 .sort_ascends = s->sort != NULL && !s->sort->fields[0].descending};
    struct biter it = biter_of(output);
    struct belem e;
    s->fields = arena_array(pipe_arena(ps), struct window_field, (size_t) bdoc_count(output) + 1);
    if (s->fields == NULL) return RAISE(ps->err, ST_NOMEM, STAGE_NAME);
    while (biter_next(&it, &e)) {
        struct window_field *f = &s->fields[s->field_count];
        TRY(window_field_parse(ps, &place, e, f));
        for (uint32_t i = 0; i < s->field_count; i++)
            if (overlap(s->fields[i].path.text, f->path.text))
                return RAISE_CODE(ps->err, 40176,
                                  "specification contains two conflicting paths. Cannot specify both '%.*s' and '%.*s'",
                                  SLICE_ARGS(s->fields[i].path.text), SLICE_ARGS(f->path.text));
        if (window_field_reads_order(f) && s->order == NULL && place.sort_count == 1) TRY(parse_order(ps, s));
        s->field_count++;
    }
    return ST_OK;
}

static status parse(struct pipe_parse *ps, struct bval spec) {
    struct bval partition = BVAL_MISSING, sort = BVAL_MISSING, output = BVAL_MISSING;
    struct window_stage *s;
    if (spec.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_FailedToParse,
                          "the " STAGE_NAME " stage specification must be an object, found %s", btype_name(spec.type));
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("partitionBy"))) partition = e.value;
        else if (slice_equal(e.name, SLICE_LIT("sortBy"))) sort = e.value;
        else if (slice_equal(e.name, SLICE_LIT("output"))) output = e.value;
        else
            return RAISE_CODE(ps->err, 40415, "BSON field '$setWindowFields.%.*s' is an unknown field.",
                              SLICE_ARGS(e.name));
    }
    if (output.type == B_MISSING)
        return RAISE_CODE(ps->err, 40414, "BSON field '$setWindowFields.output' is missing but a required field");
    if (output.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_TypeMismatch,
                          "BSON field '$setWindowFields.output' is the wrong type '%s', expected type 'object'",
                          btype_name(output.type));
    TRY(pipe_append(ps, &stage_set_window_fields, &ops, sizeof(*s), &s));
    const struct mem *mem = ps->list->p->op.mem;
    buf_init(&s->key, mem);
    buf_init(&s->out, mem);
    buf_init(&s->other, mem);
    arena_init(&s->rows.arena, mem);
    s->rows.stage = &s->base;
    s->rows.name = STAGE_NAME;
    s->run.mem = mem;
    TRY(parse_sort(ps, s, sort));
    struct bval constant;
    if (partition.type != B_MISSING) TRY(expr_parse(&ps->list->p->env.scope, partition, &s->partition, ps->err));
    if (s->partition != NULL && expr_constant(s->partition, &constant) && constant.type == B_ARRAY)
        return RAISE_CODE(ps->err, CODE_TypeMismatch,
                          "An expression used to partition cannot evaluate to value of type array");
    return parse_output(ps, s, bval_doc(output));
}

const struct stage_def stage_set_window_fields = {STAGE_NAME, STAGE_BLOCKS, parse};
