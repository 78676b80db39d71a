/* explain for find, count, distinct, update and delete; see find.h and write.h. What is read is read for executionStats; nothing is written. */
#include "query/explain.h"

#include "doc/db.h"
#include "query/distinct.h"
#include "query/find_and_modify.h"
#include "query/write.h"

/* What stands above the run's own stages. */
struct top {
    const char *name;              /* COUNT, UPDATE, DELETE, DISTINCT; NULL: nothing */
    const struct access *distinct; /* DISTINCT_SCAN */
    uint64_t distinct_keys, returned;
};

static bool is_count_scan(const struct plan_node *root) {
    return root->stage == PLAN_IXSCAN && root->access->scan->is_contiguous;
}

static void show_distinct_scan(struct bbuild *b, const struct run *run, const struct top *top, bool with_stats) {
    const struct access *a = top->distinct;
    struct plan_node node = {.stage = PLAN_IXSCAN, .access = (struct access *) (uintptr_t) a};
    struct stage stage = {.plan = &node, .stats = {.advanced = top->returned, .keys = top->distinct_keys}};
    struct buf tmp;
    buf_init(&tmp, run->op->mem);
    struct bbuild shown;
    bbuild_begin(&shown, &tmp);
    explain_stage(&shown, run, &node, with_stats ? &stage : NULL);
    struct bdoc d = bbuild_finish(&shown);
    if (d.p == NULL) b->buf->failed = true;
    bbuild_str(b, "stage", "DISTINCT_SCAN");
    struct biter it = biter_of(d.p != NULL ? d : bdoc_empty);
    struct belem e;
    while (biter_next(&it, &e)) {
        if (!slice_equal(e.name, SLICE_LIT("stage"))) bbuild_value(b, e.name, e.value);
    }
    buf_release(&tmp);
}

static void show_root_stage(struct bbuild *b, const struct run *run, const struct plan_node *root,
                            const struct stage *stage) {
    if (root->stage == PLAN_OR) {
        bbuild_str(b, "stage", "SUBPLAN");
        struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("inputStage"));
        explain_stage(&sub, run, root, stage);
        bbuild_close(&sub);
        return;
    }
    explain_stage(b, run, root, stage);
}

static void show_tree(struct bbuild *b, const struct run *run, const struct top *top, const struct plan_node *root,
                      bool with_stats) {
    const struct stage *stage = with_stats ? run->exec.root : NULL;
    if (top->distinct != NULL) {
        show_distinct_scan(b, run, top, with_stats);
        return;
    }
    if (top->name == NULL) {
        show_root_stage(b, run, root, stage);
        return;
    }
    bbuild_str(b, "stage", top->name);
    if (with_stats)
        bbuild_int64(b,
                     strcmp(top->name, "COUNT") == 0        ? "nCounted"
                         : strcmp(top->name, "DELETE") == 0 ? "nWouldDelete"
                                                            : "nMatched",
                     (int64_t) top->returned);
    struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("inputStage"));
    if (strcmp(top->name, "COUNT") == 0 && is_count_scan(root)) {
        bbuild_str(&sub, "stage", "COUNT_SCAN");
        struct bbuild scan = bbuild_open_doc(&sub, SLICE_LIT("scan"));
        explain_stage(&scan, run, root, stage);
        bbuild_close(&scan);
    } else {
        show_root_stage(&sub, run, root, stage);
    }
    bbuild_close(&sub);
}

static void show_namespace(struct bbuild *q, const struct ns *ns) {
    struct buf text;
    buf_init(&text, q->buf->mem);
    buf_append_slice(&text, ns->db);
    buf_append_u8(&text, '.');
    buf_append_slice(&text, ns->coll);
    if (text.failed) q->buf->failed = true;
    else bbuild_slice(q, "namespace", buf_slice(&text));
    buf_release(&text);
}

static void show_planner(struct bbuild *b, const struct run *run, const struct ns *ns, const struct top *top) {
    struct bbuild q = bbuild_open_doc(b, SLICE_LIT("queryPlanner"));
    show_namespace(&q, ns);
    bbuild_bool(&q, "indexFilterSet", false);
    struct bbuild parsed = bbuild_open_doc(&q, SLICE_LIT("parsedQuery"));
    explain_match(&parsed, run->query.matcher.root);
    bbuild_close(&parsed);
    bbuild_bool(&q, "maxIndexedOrSolutionsReached", false);
    bbuild_bool(&q, "maxIndexedAndSolutionsReached", false);
    bbuild_bool(&q, "maxScansToExplodeReached", false);
    struct bbuild winning = bbuild_open_doc(&q, SLICE_LIT("winningPlan"));
    show_tree(&winning, run, top, run->plan.root, false);
    bbuild_close(&winning);
    struct bbuild rejected = bbuild_open_array(&q, SLICE_LIT("rejectedPlans"));
    for (uint32_t i = 0; i < run->plan.rejected_count; i++) {
        struct bbuild one = bbuild_push_doc(&rejected);
        struct top plain = {.name = top->name};
        show_tree(&one, run, &plain, run->plan.rejected[i], false);
        bbuild_close(&one);
    }
    bbuild_close(&rejected);
    bbuild_close(&q);
}

static void show_execution(struct bbuild *b, const struct run *run, const struct top *top, uint64_t ms,
                           bool all_plans) {
    uint64_t keys = top->distinct_keys, documents = 0;
    bool only_one = top->name != NULL && top->distinct == NULL;
    if (top->distinct == NULL) explain_totals(run->exec.root, &keys, &documents);
    struct bbuild e = bbuild_open_doc(b, SLICE_LIT("executionStats"));
    bbuild_bool(&e, "executionSuccess", true);
    bbuild_int64(&e, "nReturned", only_one ? 0 : (int64_t) top->returned);
    bbuild_int64(&e, "executionTimeMillis", (int64_t) ms);
    bbuild_int64(&e, "totalKeysExamined", (int64_t) keys);
    bbuild_int64(&e, "totalDocsExamined", (int64_t) documents);
    struct bbuild stages = bbuild_open_doc(&e, SLICE_LIT("executionStages"));
    show_tree(&stages, run, top, run->plan.root, true);
    bbuild_close(&stages);
    if (all_plans) {
        struct bbuild all = bbuild_open_array(&e, SLICE_LIT("allPlansExecution"));
        bbuild_close(&all);
    }
    bbuild_close(&e);
}

/* Reads what the plan gives. */
static status execute(struct run *run, struct top *top, const struct path *distinct_path, struct err *err) {
    struct row row;
    status st;
    if (top->distinct != NULL) {
        struct buf out;
        struct bdoc values;
        buf_init(&out, run->op->mem);
        st = distinct_read(run, top->distinct, distinct_path, &out, &values, &top->distinct_keys, err);
        if (st == ST_OK) top->returned = bdoc_count(values);
        buf_release(&out);
        return st;
    }
    while ((st = run_next(run, &row, err)) == ST_OK) top->returned++;
    return st == ST_END ? ST_OK : st;
}

static status explain(struct op *op, const struct find_request *req, struct top *top, enum plan_want want,
                      struct slice distinct_key, enum explain_verbosity v, struct bbuild *out, struct err *err) {
    struct run run;
    struct path path;
    struct env *env = db_env(op->db);
    status st = ST_OK;
    TRY(run_open(&run, op, req, &(struct run_opts){.want = want, .keeps_rejected = true}, err));
    if (distinct_key.p != NULL) {
        struct access *a = NULL;
        TRY_OUT(path_parse(&op->arena, distinct_key, &path, err));
        TRY_OUT(distinct_access(&run, distinct_key, &a, err));
        top->distinct = a;
    }
    uint64_t begun = env->ops->monotonic_ns(env);
    if (v != EXPLAIN_QUERY_PLANNER) TRY_OUT(execute(&run, top, &path, err));
    uint64_t ms = (env->ops->monotonic_ns(env) - begun) / 1000000;
    show_planner(out, &run, &req->ns, top);
    if (v != EXPLAIN_QUERY_PLANNER) show_execution(out, &run, top, ms, v == EXPLAIN_ALL_PLANS);
    if (out->buf->failed) st = RAISE(err, ST_NOMEM, "explain");
out:
    run_close(&run);
    return st;
}

status find_explain(struct op *op, const struct find_request *req, enum explain_kind kind, struct slice distinct_key,
                    enum explain_verbosity v, struct bbuild *out, struct err *err) {
    struct top top = {.name = kind == EXPLAIN_COUNT ? "COUNT" : NULL};
    return explain(op, req, &top, kind == EXPLAIN_COUNT ? WANT_COUNT : WANT_DOCUMENTS,
                   kind == EXPLAIN_DISTINCT ? distinct_key : SLICE_NONE, v, out, err);
}

static status explain_write(struct op *op, const char *name, const struct ns *ns, struct bdoc filter, struct bval hint,
                            bool multi, struct bdoc sort, struct bdoc let, enum explain_verbosity v,
                            struct bbuild *out, struct err *err) {
    struct top top = {.name = name};
    struct find_request req = {.ns = *ns, .filter = filter, .sort = sort, .hint = hint, .limit = multi ? 0 : 1, .let = let};
    return explain(op, &req, &top, WANT_DOCUMENTS, SLICE_NONE, v, out, err);
}

status update_explain(struct op *op, const struct update_request *req, enum explain_verbosity v, struct bbuild *out,
                      struct err *err) {
    const struct update_statement *s = &req->statements[0];
    return explain_write(op, "UPDATE", &req->ns, s->filter, s->hint, s->multi, (struct bdoc){0}, req->let, v, out, err);
}

status delete_explain(struct op *op, const struct delete_request *req, enum explain_verbosity v, struct bbuild *out,
                      struct err *err) {
    const struct delete_statement *s = &req->statements[0];
    return explain_write(op, "DELETE", &req->ns, s->filter, s->hint, s->multi, (struct bdoc){0}, req->let, v, out, err);
}

status find_and_modify_explain(struct op *op, const struct find_and_modify_request *req, enum explain_verbosity v,
                               struct bbuild *out, struct err *err) {
    const struct update_statement *s = &req->statement;
    return explain_write(op, req->remove ? "DELETE" : "UPDATE", &req->ns, s->filter, s->hint, false, req->sort, req->let,
                         v, out, err);
}
