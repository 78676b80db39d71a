/* Plans as a tree for people:
 *
 *   FETCH (returned 12, documents examined 12)
 *     IXSCAN section_1_size_-1, forward: section ["games", "games"], size [MaxKey, MinKey] (returned 12, keys examined 13)
 *   returned 12, keys examined 13, documents examined 12, 0 ms
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static bool find_path(const bson_t *doc, const char *path, bson_iter_t *found) {
    bson_iter_t it;
    return bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, path, found);
}

static int64_t number_at(const bson_t *doc, const char *path) {
    bson_iter_t found;
    return find_path(doc, path, &found) ? bson_iter_as_int64(&found) : 0;
}

static const char *text_at(const bson_t *doc, const char *name) {
    bson_iter_t it;
    return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : NULL;
}

static bool document_at(const bson_iter_t *it, bson_t *out) {
    const uint8_t *data;
    uint32_t len;
    if (!BSON_ITER_HOLDS_DOCUMENT(it)) return false;
    bson_iter_document(it, &len, &data);
    return bson_init_static(out, data, len);
}

/* " filter {...}" */
static void print_part(const bson_t *stage, const char *name, const char *label) {
    bson_iter_t it;
    bson_t part;
    if (!bson_iter_init_find(&it, stage, name)) return;
    if (document_at(&it, &part)) {
        char *json = json_of(&part);
        printf(" %s%s", label, json != NULL ? json : "?");
        bson_free(json);
    } else if (BSON_ITER_HOLDS_UTF8(&it)) {
        printf(" %s%s", label, bson_iter_utf8(&it, NULL));
    } else {
        printf(" %s%lld", label, (long long) bson_iter_as_int64(&it));
    }
}

/* ": age [39, inf], name ["a", "b")" */
static void print_bounds(const bson_t *stage) {
    bson_iter_t it, field, interval;
    if (!bson_iter_init_find(&it, stage, "indexBounds") || !bson_iter_recurse(&it, &field)) return;
    const char *separator = ":";
    while (bson_iter_next(&field)) {
        printf("%s %s", separator, bson_iter_key(&field));
        separator = ",";
        if (!BSON_ITER_HOLDS_ARRAY(&field) || !bson_iter_recurse(&field, &interval)) continue;
        while (bson_iter_next(&interval)) {
            if (BSON_ITER_HOLDS_UTF8(&interval)) printf(" %s", bson_iter_utf8(&interval, NULL));
        }
    }
}

static void print_counts(const bson_t *stage) {
    static const struct {
        const char *name, *label;
    } rows[] = {
        {"nReturned", "returned"}, {"keysExamined", "keys examined"},  {"docsExamined", "documents examined"},
        {"nMatched", "matched"},   {"nWouldModify", "to be modified"}, {"nWouldDelete", "to be deleted"},
        {"nCounted", "counted"},
    };
    bson_iter_t it;
    const char *separator = " (";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!bson_iter_init_find(&it, stage, rows[i].name)) continue;
        printf("%s%s %s", separator, rows[i].label, with_commas(bson_iter_as_int64(&it)));
        separator = ", ";
    }
    if (separator[0] == ',') putchar(')');
}

static void print_stage(const bson_t *stage, int depth) {
    bson_iter_t it, sub;
    bson_t child;
    const char *name = text_at(stage, "stage"), *index = text_at(stage, "indexName"),
               *direction = text_at(stage, "direction");
    printf("%*s%s", depth * 2, "", name != NULL ? name : "?");
    if (index != NULL) printf(" %s", index);
    if (direction != NULL && (index != NULL || strcmp(direction, "backward") == 0))
        printf("%s %s", index != NULL ? "," : "", direction);
    print_bounds(stage);
    print_part(stage, "sortPattern", "by ");
    if (name == NULL || strcmp(name, "SORT") != 0) print_part(stage, "limitAmount", "");
    else print_part(stage, "limitAmount", "to ");
    print_part(stage, "skipAmount", "");
    print_part(stage, "transformBy", "");
    print_part(stage, "filter", "filter ");
    print_counts(stage);
    putchar('\n');
    if (bson_iter_init_find(&it, stage, "inputStage") && document_at(&it, &child)) print_stage(&child, depth + 1);
    if (!bson_iter_init_find(&it, stage, "inputStages") || !BSON_ITER_HOLDS_ARRAY(&it) || !bson_iter_recurse(&it, &sub))
        return;
    while (bson_iter_next(&sub)) {
        if (document_at(&sub, &child)) print_stage(&child, depth + 1);
    }
}

void print_explain(const bson_t *reply, bool tree) {
    bson_iter_t found;
    bson_t stages;
    bool has_stats = find_path(reply, "executionStats.executionStages", &found);
    bool has_plan = has_stats || find_path(reply, "queryPlanner.winningPlan", &found);
    if (!tree || !has_plan || !document_at(&found, &stages)) {
        print_document(reply);
        return;
    }
    print_stage(&stages, 0);
    if (!has_stats) return;
    printf("returned %s, keys examined %s, documents examined %s, %lld ms\n",
           with_commas(number_at(reply, "executionStats.nReturned")),
           with_commas(number_at(reply, "executionStats.totalKeysExamined")),
           with_commas(number_at(reply, "executionStats.totalDocsExamined")),
           (long long) number_at(reply, "executionStats.executionTimeMillis"));
}
