/* Stages of a plan as documents; see explain.h. */
#include "query/explain.h"

#include <stdio.h>

/* What every stage of executionStages has. MongoDB's works, needTime and the like count its own machinery: given in its proportions. */
static void show_counts(struct bbuild *b, const struct stage_stats *stats, uint64_t examined) {
    if (stats == NULL) return;
    bbuild_int64(b, "nReturned", (int64_t) stats->advanced);
    bbuild_int64(b, "executionTimeMillisEstimate", 0);
    bbuild_int64(b, "works", (int64_t) ((examined > stats->advanced ? examined : stats->advanced) + 1));
    bbuild_int64(b, "advanced", (int64_t) stats->advanced);
    bbuild_int64(b, "needTime", (int64_t) (examined > stats->advanced ? examined - stats->advanced : 0));
    bbuild_int64(b, "needYield", 0);
    bbuild_int64(b, "isEOF", 1);
}

static void show_filter(struct bbuild *b, const struct match_node *filter) {
    if (filter == NULL) return;
    struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("filter"));
    explain_match(&sub, filter);
    bbuild_close(&sub);
}

static void begin(struct bbuild *b, const char *name) { bbuild_str(b, "stage", name); }

static void show_child(struct bbuild *b, const struct run *run, const struct plan_node *node,
                       const struct stage *stage) {
    if (node->child_count == 0) return;
    struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("inputStage"));
    explain_stage(&sub, run, node->children[0], stage != NULL && stage->child_count > 0 ? stage->children[0] : NULL);
    bbuild_close(&sub);
}

/* --- index scans --- */

static void show_multikey(struct bbuild *b, const struct index_view *v) {
    bbuild_bool(b, "isMultiKey", v->is_multikey);
    struct bbuild paths = bbuild_open_doc(b, SLICE_LIT("multiKeyPaths"));
    for (uint32_t f = 0; f < v->field_count; f++) {
        const struct path *p = &v->fields[f].path;
        struct bbuild array = bbuild_open_array(&paths, p->text);
        size_t len = 0;
        uint32_t n = 0;
        for (uint32_t i = 0; i < p->part_count; i++) {
            len += p->parts[i].name.len + (i > 0);
            char name[12];
            if (i >= 64 || !(v->multikey[f] >> i & 1)) continue;
            (void) snprintf(name, sizeof(name), "%u", n++);
            bbuild_slice(&array, name, slice_of(p->text.p, len));
        }
        bbuild_close(&array);
    }
    bbuild_close(&paths);
}

static void show_bounds(struct bbuild *b, const struct run *run, const struct access *a, bool backward) {
    struct bbuild bounds = bbuild_open_doc(b, SLICE_LIT("indexBounds"));
    for (uint32_t f = 0; f < a->view.field_count; f++) {
        struct bbuild array = bbuild_open_array(&bounds, a->view.fields[f].path.text);
        intervals_show(&a->bounds[f], a->view.fields[f].descending != backward, run->op->mem, &array);
        bbuild_close(&array);
    }
    bbuild_close(&bounds);
}

static void show_index(struct bbuild *b, const struct run *run, const struct access *a, bool backward) {
    if (a->view.index != NULL) {
        bbuild_doc(b, "keyPattern", a->view.index->spec.key);
        bbuild_slice(b, "indexName", a->view.index->spec.name);
    } else {
        struct bbuild key = bbuild_open_doc(b, SLICE_LIT("keyPattern"));
        bbuild_int32(&key, "_id", 1);
        bbuild_close(&key);
        bbuild_str(b, "indexName", "_id_");
    }
    show_multikey(b, &a->view);
    bbuild_bool(b, "isUnique", a->view.is_unique);
    bbuild_bool(b, "isSparse", a->view.is_sparse);
    bbuild_bool(b, "isPartial", false);
    bbuild_int32(b, "indexVersion", 2);
    bbuild_str(b, "direction", backward ? "backward" : "forward");
    show_bounds(b, run, a, backward);
}

static void show_key_counts(struct bbuild *b, const struct stage_stats *stats) {
    if (stats == NULL) return;
    bbuild_int64(b, "keysExamined", (int64_t) stats->keys);
    bbuild_int64(b, "seeks", (int64_t) stats->seeks);
    bbuild_int64(b, "dupsTested", 0);
    bbuild_int64(b, "dupsDropped", 0);
}

static void show_ixscan(struct bbuild *b, const struct run *run, const struct plan_node *node,
                        const struct stage_stats *stats) {
    begin(b, "IXSCAN");
    show_counts(b, stats, stats != NULL ? stats->keys : 0);
    show_index(b, run, node->access, node->backward);
    show_key_counts(b, stats);
}

static void show_fetch(struct bbuild *b, const struct plan_node *node, const struct stage_stats *stats) {
    begin(b, "FETCH");
    show_filter(b, node->filter);
    show_counts(b, stats, stats != NULL ? stats->documents : 0);
    if (stats == NULL) return;
    bbuild_int64(b, "docsExamined", (int64_t) stats->documents);
    bbuild_int64(b, "alreadyHasObj", 0);
}

/* Documents lie under their _id: what is one scan here is shown as the fetch over an index scan that it stands for. */
static void show_id_scan(struct bbuild *b, const struct run *run, const struct plan_node *node,
                         const struct stage_stats *stats) {
    if (node->is_id_hack) {
        begin(b, "IDHACK");
        show_counts(b, stats, stats != NULL ? stats->keys : 0);
        if (stats == NULL) return;
        bbuild_int64(b, "keysExamined", (int64_t) stats->keys);
        bbuild_int64(b, "docsExamined", (int64_t) stats->documents);
        return;
    }
    show_fetch(b, node, stats);
    struct bbuild sub = bbuild_open_doc(b, SLICE_LIT("inputStage"));
    show_ixscan(&sub, run, node, stats);
    bbuild_close(&sub);
}

/* --- the others --- */

static void show_children(struct bbuild *b, const struct run *run, const struct plan_node *node,
                          const struct stage *stage) {
    struct bbuild array = bbuild_open_array(b, SLICE_LIT("inputStages"));
    for (uint32_t i = 0; i < node->child_count; i++) {
        struct bbuild sub = bbuild_push_doc(&array);
        explain_stage(&sub, run, node->children[i],
                      stage != NULL && i < stage->child_count ? stage->children[i] : NULL);
        bbuild_close(&sub);
    }
    bbuild_close(&array);
}

static void show_sort_merge(struct bbuild *b, const struct run *run, const struct plan_node *node,
                            const struct stage_stats *stats) {
    begin(b, "SORT_MERGE");
    show_counts(b, stats, 0);
    bbuild_doc(b, "sortPattern", run->query.sort_doc);
    struct bbuild array = bbuild_open_array(b, SLICE_LIT("inputStages"));
    struct bbuild sub = bbuild_push_doc(&array);
    show_ixscan(&sub, run, node, stats);
    bbuild_close(&sub);
    bbuild_close(&array);
}

static void show_sort(struct bbuild *b, const struct run *run, const struct plan_node *node,
                      const struct stage_stats *stats) {
    begin(b, "SORT");
    show_counts(b, stats, 0);
    bbuild_doc(b, "sortPattern", run->query.sort_doc);
    bbuild_int64(b, "memLimit", (int64_t) run->op->memory_max);
    if (node->count > 0) bbuild_int64(b, "limitAmount", (int64_t) node->count);
    bbuild_str(b, "type", "simple");
    if (stats != NULL) bbuild_int64(b, "totalDataSizeSorted", (int64_t) stats->memory_max);
}

static const char *projection_name(const struct run *run, const struct plan_node *node) {
    uint32_t count;
    if (node->child_count > 0 && node->children[0]->stage == PLAN_COVERED) return "PROJECTION_COVERED";
    const struct path *paths = projection_paths(run->query.projection, &count);
    for (uint32_t i = 0; paths != NULL && i < count; i++) {
        if (paths[i].part_count > 1) return "PROJECTION_DEFAULT";
    }
    return paths != NULL ? "PROJECTION_SIMPLE" : "PROJECTION_DEFAULT";
}

static void show_text(struct bbuild *b, const struct run *run, const struct plan_node *node,
                      const struct stage *stage) {
    const struct stage_stats *stats = stage != NULL ? &stage->stats : NULL;
    begin(b, "TEXT_MATCH");
    show_filter(b, node->filter);
    show_counts(b, stats, stats != NULL ? stats->documents : 0);
    struct bbuild prefix = bbuild_open_doc(b, SLICE_LIT("indexPrefix"));
    bbuild_close(&prefix);
    bbuild_slice(b, "indexName", node->text_index->spec.name);
    struct bbuild parsed = bbuild_open_doc(b, SLICE_LIT("parsedTextQuery"));
    bbuild_slice(&parsed, "search", run->query.matcher.text.search);
    bbuild_close(&parsed);
    bbuild_int32(b, "textIndexVersion", 3);
    if (stats != NULL) bbuild_int64(b, "docsExamined", (int64_t) stats->documents);
}

void explain_stage(struct bbuild *b, const struct run *run, const struct plan_node *node, const struct stage *stage) {
    const struct stage_stats *stats = stage != NULL ? &stage->stats : NULL;
    switch (node->stage) {
    case PLAN_EOF:
        begin(b, "EOF");
        show_counts(b, stats, 0);
        return;
    case PLAN_COLLSCAN:
        begin(b, "COLLSCAN");
        show_filter(b, node->filter);
        show_counts(b, stats, stats != NULL ? stats->documents : 0);
        bbuild_str(b, "direction", node->backward ? "backward" : "forward");
        if (stats != NULL) bbuild_int64(b, "docsExamined", (int64_t) stats->documents);
        return;
    case PLAN_ID_SCAN: show_id_scan(b, run, node, stats); return;
    case PLAN_IXSCAN: show_ixscan(b, run, node, stats); return;
    case PLAN_COVERED: /* part of PROJECTION_COVERED */
        explain_stage(b, run, node->children[0], stage != NULL && stage->child_count > 0 ? stage->children[0] : NULL);
        return;
    case PLAN_FETCH: show_fetch(b, node, stats); break;
    case PLAN_OR:
        begin(b, "OR");
        show_counts(b, stats, 0);
        show_children(b, run, node, stage);
        return;
    case PLAN_SORT_MERGE: show_sort_merge(b, run, node, stats); return;
    case PLAN_TEXT: show_text(b, run, node, stage); return;
    case PLAN_SORT: show_sort(b, run, node, stats); break;
    case PLAN_SKIP:
        begin(b, "SKIP");
        show_counts(b, stats, 0);
        bbuild_int64(b, "skipAmount", (int64_t) node->count);
        break;
    case PLAN_LIMIT:
        begin(b, "LIMIT");
        show_counts(b, stats, 0);
        bbuild_int64(b, "limitAmount", (int64_t) node->count);
        break;
    case PLAN_PROJECTION:
        begin(b, projection_name(run, node));
        show_counts(b, stats, 0);
        bbuild_doc(b, "transformBy", run->query.projection_doc);
        break;
    default: break;
    }
    show_child(b, run, node, stage);
}

void explain_totals(const struct stage *s, uint64_t *keys, uint64_t *documents) {
    *keys += s->stats.keys;
    *documents += s->stats.documents;
    for (uint32_t i = 0; i < s->child_count; i++) explain_totals(s->children[i], keys, documents);
}
