/* Hits of a text index: locators with their scores, for FETCH to look up. */
#include "query/exec.h"

#include "doc/db.h"
#include "index/text/text.h"

struct text_hits {
    struct stage base;
    struct text_index index;
    struct text_search *search;
};

static status open_search(struct text_hits *t, struct err *err) {
    struct exec *x = t->base.x;
    const struct match_text *m = &x->query->matcher.text;
    t->index = (struct text_index){db_kv(x->op->db), x->collection->id, t->base.plan->text_index->id,
                                   &t->base.plan->text_index->spec};
    struct text_query *query;
    TRY(text_query_parse(&t->index, m->search, m->language, m->case_sensitive, m->diacritic_sensitive, x->arena, &query,
                         err));
    struct text_search_opts opts = {t->base.plan->ranked, x->query->needs_score, t->base.plan->count};
    return text_search_open(&t->index, x->txn, query, &opts, x->op->mem, &t->search, err);
}

static status text_next(struct stage *s, struct row *out, struct err *err) {
    struct text_hits *t = (struct text_hits *) s;
    if (t->search == NULL) TRY(open_search(t, err));
    struct text_hit hit;
    TRY(exec_tick(s->x, err));
    status st = text_search_next(t->search, &hit, err);
    s->stats.keys = text_search_keys_examined(t->search);
    if (st != ST_OK) return st;
    *out = (struct row){.locator = hit.locator, .score = hit.score};
    return ST_OK;
}

static void text_rest(struct stage *s) {
    struct text_hits *t = (struct text_hits *) s;
    if (t->search != NULL) text_search_rest(t->search);
}

static void text_close(struct stage *s) {
    struct text_hits *t = (struct text_hits *) s;
    if (t->search != NULL) text_search_close(t->search);
    t->search = NULL;
}

status stage_text_open(struct exec *x, const struct plan_node *plan, struct stage **out, struct err *err) {
    static const struct stage_ops ops = {text_next, text_rest, text_close};
    return stage_new(x, plan, &ops, sizeof(struct text_hits), out, err);
}
